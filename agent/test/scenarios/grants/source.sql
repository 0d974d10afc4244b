create schema app;
create table app.a (id serial primary key, note text, secret text);
create table app.b (id int primary key);
insert into app.a (note) values ('new'), ('new');
insert into app.b values (1), (2);
