create schema app;
create schema outside;
create table outside.parent (id int, note text);
create table app.kid (primary key (id)) inherits (outside.parent);
insert into outside.parent values (1, 'new');
insert into app.kid select n, 'new' from generate_series(2, 6) n;
