create schema app;
create schema outside;
create table app.a (id int primary key, note text);
create view app.v as select id from app.a;
insert into app.a values (1, 'new'), (2, 'new');
