-- as the source
create materialized view app.m as select count(*) as n from app.a;
create index on app.a (note);
create table app.outside (id int primary key, a_id int references app.a on delete cascade);
alter schema app owner to scenario_owner;
alter table app.a owner to scenario_owner;
alter table app.b owner to scenario_owner;
alter view app.v owner to scenario_owner;
alter materialized view app.m owner to scenario_owner;
alter table app.outside owner to scenario_owner;
grant select on app.a to scenario_reader;
do $$ begin execute format('grant create on database %I to scenario_agent', current_database()); end $$;
update app.a set note = 'old';
insert into app.outside values (1, 1);
