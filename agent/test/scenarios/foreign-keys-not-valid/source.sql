create schema app;
create schema outside;
create table app.a (id int primary key, self int, n int);
create table app.b (id int primary key, a_id int, o_id int);
insert into app.a select n, null, n from generate_series(1, 5) n;
insert into app.b select n, n, n from generate_series(1, 5) n;
create table outside.o (id int primary key, a_id int);
