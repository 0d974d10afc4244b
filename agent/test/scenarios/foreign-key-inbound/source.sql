create schema app;
create schema outside;
create table app.a (id int primary key, code text unique, x int, y int, unique (x, y));
insert into app.a select n, 'c' || n, n, n from generate_series(1, 5) n;
