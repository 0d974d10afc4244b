-- as the source
alter default privileges grant select, insert on tables to scenario_reader;
alter default privileges grant usage on sequences to scenario_reader;
alter default privileges in schema app grant select on tables to public;
alter default privileges revoke execute on functions from public;
create table app.later (id int);
revoke all on app.later from scenario_reader, public;
grant insert on app.b to scenario_reader;
grant select (note) on app.b to scenario_other;
update app.a set note = 'old';
grant usage on schema app to scenario_reader;
