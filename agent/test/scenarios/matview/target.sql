-- as the source
create schema reports;
create materialized view reports.by_kind with (fillfactor = 70) as select kind, sum(n) as total from app.a group by kind;
create unique index by_kind_kind on reports.by_kind (kind);
create index by_kind_total on reports.by_kind (total desc) where total > 1;
alter materialized view reports.by_kind cluster on by_kind_kind;
alter materialized view reports.by_kind alter column total set statistics 42;
create materialized view reports.later as select count(*) from app.a with no data;
create materialized view reports.unrelated as select 1 as one;
comment on materialized view reports.by_kind is 'it''s filled';
comment on index reports.by_kind_kind is 'its index';
create view reports.top as select * from reports.by_kind order by total desc limit 1;
alter materialized view reports.by_kind owner to scenario_owner;
grant select on app.a to scenario_owner;
grant usage on schema app, reports to scenario_owner, scenario_reader;
grant select on reports.by_kind to scenario_reader;
delete from app.a where id > 5;
refresh materialized view reports.by_kind;
