create schema app;
create table app.a (id serial primary key, note text);
create table app.b (id int primary key, a_id int references app.a);
create view app.v as select id, note from app.a;
insert into app.a (note) values ('new'), ('new');
insert into app.b values (1, 1);
