create schema app;
create table app.a (id int, note text);
insert into app.a select n % 5, 'new' from generate_series(1, 9) n;
