-- as the source
delete from app.a where id > 9;
refresh materialized view app.sums;
refresh materialized view app.top;
create schema v;
create view v.rows as select b as whole, b.id from app.b;
create view v.collected as select array_agg(b order by id) as all_of_them from app.b;
create view v.above as select (whole).note, id from v.rows;
create materialized view v.filled as select (whole).note as note, count(*) as n from v.rows group by 1;
comment on view v.rows is 'whole rows';
grant select on v.rows to scenario_reader;
update app.b set note = 'old';
