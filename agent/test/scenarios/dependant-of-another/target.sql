-- as the source
alter schema app owner to scenario_owner;
alter table app.a owner to scenario_owner;
grant usage, create on schema app to scenario_other;
grant select on app.a to scenario_other;
create view app.v as select id from app.a;
alter view app.v owner to scenario_other;
do $$ begin execute format('grant create on database %I to scenario_agent', current_database()); end $$;
update app.a set note = 'old';
