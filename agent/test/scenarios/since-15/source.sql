create schema app;
create table app.a (id int primary key, note text);
insert into app.a select n, 'new' from generate_series(1, 3) n;
create table public.a (a int, b int, unique nulls not distinct (a, b));
insert into public.a values (1, null), (2, null);
