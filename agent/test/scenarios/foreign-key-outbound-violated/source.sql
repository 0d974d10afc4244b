create schema app;
create schema outside;
create table outside.o (id int primary key);
create table app.a (id int primary key, o_id int constraint a_o references outside.o);
insert into outside.o select n from generate_series(1, 5) n;
insert into app.a select n, n from generate_series(1, 5) n;
