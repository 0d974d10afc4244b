create schema app;
create table app.a (id int primary key, n int);
insert into app.a select n, n from generate_series(1, 5) n;
