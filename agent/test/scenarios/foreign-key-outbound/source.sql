create schema app;
create schema outside;
create table outside.o (id int primary key, name text);
create table app.a (id int primary key, o_id int constraint a_o references outside.o on delete cascade, note text);
comment on constraint a_o on app.a is 'to the outside';
insert into outside.o select n, 'new ' || n from generate_series(1, 3) n;
insert into app.a values (1, 1, 'new'), (2, 2, 'new');
