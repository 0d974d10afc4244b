create schema app;
create schema outside;
create table app.a (id int primary key, o_id int);
create table outside.o (id int primary key, a_id int references app.a deferrable initially deferred);
alter table app.a add constraint a_o foreign key (o_id) references outside.o deferrable;
-- then
begin;
insert into outside.o values (1, 1), (2, 2);
insert into app.a values (1, 1), (2, 2), (3, 1);
commit;
-- then
create table outside.p (id int primary key, name text, unique (name));
create table app.b (id int primary key, o_id int references outside.p on delete restrict deferrable initially deferred, o_name text);
alter table app.b add constraint a_name foreign key (o_name) references outside.p (name) on update cascade;
insert into outside.p select n, 'o' || n from generate_series(1, 5) n;
-- then
insert into app.b select n, n, 'o' || n from generate_series(1, 5) n;
