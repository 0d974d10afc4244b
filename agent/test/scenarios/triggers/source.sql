create schema app;
create table app.a (id int primary key, note text, n int);
create table app.b (id int primary key);
insert into app.a select n, 'new', n from generate_series(1, 5) n;
insert into app.b values (1);
