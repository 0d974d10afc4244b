create schema app;
create table app.a (id serial primary key, note text);
create table app.b (id int primary key, a_id int references app.a on delete cascade);
insert into app.a (note) select 'new' from generate_series(1, 9) n;
insert into app.b values (1, 1);
