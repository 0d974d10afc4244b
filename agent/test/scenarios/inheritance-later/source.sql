create schema app;
create table app.parent (id int primary key);
create table app.child (extra text, primary key (id)) inherits (app.parent);
alter table app.parent add column late int;
insert into app.parent values (1, 1);
insert into app.child values (2, 'two', 2), (3, 'three', 3);
