create schema app;
create table app.a (id int primary key, note text, n int default 1);
insert into app.a select n, 'new', n from generate_series(1, 4) n;
