create schema app;
create table app.a (id serial primary key, note text);
create table app.b (id int generated always as identity, note text);
insert into app.a (note) values ('new'), ('new');
insert into app.b (note) values ('new');
