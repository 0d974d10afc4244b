-- as the source
create schema reports;
create view reports.invoker with (security_invoker = true) as select * from app.a;
create view reports.above with (security_invoker, security_barrier) as select id from reports.invoker where note <> '';
grant select on reports.invoker to scenario_reader;
grant usage on schema reports, app to scenario_reader;
delete from app.a where id = 1;
create unique index a_b on public.a (b, a) nulls not distinct;
delete from public.a where a = 1;
