create schema app;
create schema outside;
create table outside.o (id int primary key, name text, unique (name));
create table app.a (id int primary key, o_id int references outside.o on delete restrict deferrable initially deferred, o_name text);
alter table app.a add constraint a_name foreign key (o_name) references outside.o (name) on update cascade;
insert into outside.o select n, 'o' || n from generate_series(1, 5) n;
-- then
insert into app.a select n, n, 'o' || n from generate_series(1, 5) n;
