-- as the source
do $$ begin execute format('grant create on database %I to scenario_agent', current_database()); end $$;
alter table app.a enable row level security, force row level security;
create policy one_row on app.a using (id = 1);
update app.a set note = 'old';
