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
