create schema app;
create table app.a (id int primary key, owner_name text, note text);
create table app.b (id int primary key);
insert into app.a select n, case when n % 2 = 0 then 'scenario_reader' else 'other' end, 'new' from generate_series(1, 6) n;
insert into app.b values (1), (2);
