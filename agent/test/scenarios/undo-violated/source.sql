create schema app;
create schema outside;
create table app.a (id int primary key, note text);
create table outside.o (id int primary key, a_id int constraint o_a references app.a);
insert into app.a select n, 'new' from generate_series(1, 5) n;
