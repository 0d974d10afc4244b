create schema app;
create table app.a (x int, y int, id int primary key, note text);
insert into app.a select 10, 20, n, 'new' from generate_series(1, 6) n;
