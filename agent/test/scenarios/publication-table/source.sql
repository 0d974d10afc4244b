create schema app;
create table app.a (id int primary key, note text);
create table app.b (id int primary key, note text);
insert into app.a values (1, 'new'), (2, 'new');
insert into app.b values (1, 'new');
