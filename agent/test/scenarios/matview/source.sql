create schema app;
create table app.a (id int primary key, kind text, n int);
insert into app.a select n, 'k' || n % 3, n from generate_series(1, 30) n;
