-- as the source
create schema reports;
grant usage on schema reports, app to scenario_reader;
create view reports.barrier with (security_barrier) as select id, note from app.a where tenant = 1;
create view reports.local_check with (check_option = local) as select id, tenant, note from app.a where tenant = 1;
create view reports.both with (check_option = cascaded, security_barrier = true) as select * from reports.local_check where id > 0;
create view reports.by_key as select a.id, a.note, count(*) as n from app.a left join app.b on b.a_id = a.id group by a.id;
alter view reports.local_check alter column note set default 'from the view';
comment on view reports.barrier is 'it''s a barrier';
comment on column reports.barrier.note is 'its column';
grant select on reports.barrier to scenario_reader with grant option;
grant select (id) on reports.by_key to scenario_reader;
alter view reports.barrier owner to scenario_owner;
grant select on app.a to scenario_owner;
grant usage on schema app, reports to scenario_owner;
update app.a set note = 'old';
delete from app.b;
