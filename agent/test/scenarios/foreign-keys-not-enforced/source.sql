create schema app;
create schema outside;
create table app.a (id int primary key, b_id int, check (id > 0) not enforced);
create table app.b (id int primary key);
alter table app.a add constraint a_b foreign key (b_id) references app.b not enforced;
create table outside.o (id int primary key, a_id int constraint o_a references app.a not enforced);
alter table app.b add o_id int constraint b_o references outside.o not enforced;
insert into app.a values (1, 99), (-2, 98);
insert into app.b values (1, 97);
