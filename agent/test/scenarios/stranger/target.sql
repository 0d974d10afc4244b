-- as the source
alter schema app owner to scenario_owner;
alter table app.a owner to scenario_owner;
grant usage, create on schema app to scenario_stranger;
grant all on app.a to scenario_stranger;
do $$ begin execute format('grant create on database %I to scenario_stranger', current_database()); end $$;
update app.a set note = 'old';
