create schema app;
create table app.a (id int primary key, city text, zip text, n int);
insert into app.a select n, 'c' || n % 7, 'z' || n % 11, n from generate_series(1, 300) n;
