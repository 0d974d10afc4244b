-- as the source
grant usage on schema app to scenario_reader;
grant select, insert on app.a, app.b to scenario_reader;
alter table app.a enable row level security, force row level security;
alter table app.b enable row level security;
create policy own on app.a for select to scenario_reader using (owner_name = current_user);
create policy "no; writes" on app.a as restrictive for insert to public with check (id > 1000);
create policy reads_a on app.b using (exists (select from app.a where a.id = b.id));
comment on policy own on app.a is 'its own';
update app.a set note = 'old';
delete from app.b;
