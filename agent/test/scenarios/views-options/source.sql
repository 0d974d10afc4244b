create schema app;
create table app.a (id int primary key, tenant int not null, note text);
create table app.b (a_id int primary key references app.a, total numeric);
insert into app.a select n, n % 3, 'new' from generate_series(1, 9) n;
insert into app.b select n, n * 2 from generate_series(1, 9) n;
