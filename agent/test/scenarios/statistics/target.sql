-- as the source
create schema stats;
create statistics stats.city_zip (dependencies, ndistinct, mcv) on city, zip from app.a;
create statistics app.city_n (ndistinct) on city, n from app.a;
alter statistics stats.city_zip set statistics 77;
alter statistics stats.city_zip owner to scenario_owner;
comment on statistics stats.city_zip is 'in a schema of its own';
delete from app.a where id > 20;
