create schema app;
create table app.allowed (id int primary key, note text);
insert into app.allowed values (1, 'new'), (2, 'new');
create table app.a (id int primary key, note text);
insert into app.a values (1, 'new'), (2, 'new');
