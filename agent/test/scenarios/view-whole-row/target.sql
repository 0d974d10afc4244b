-- as the source
create schema v;
create view v.rows as select a as whole, a.id from app.a;
create view v.collected as select array_agg(a order by id) as all_of_them from app.a;
create view v.above as select (whole).note, id from v.rows;
comment on view v.rows is 'whole rows';
grant select on v.rows to scenario_reader;
update app.a set note = 'old';
