create schema app;
create table app.a (id int primary key, note text);
insert into app.a select n, 'new' from generate_series(1, 5) n;
