create schema app;
create table app.a (id int primary key);
create function app.rows_now() returns bigint language sql volatile as 'select count(*) from app.a';
create materialized view app.m as select app.rows_now() as n, (select max(id) from app.a) as top;
insert into app.a select n from generate_series(1, 8) n;
refresh materialized view app.m;
