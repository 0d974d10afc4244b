create schema app;
create schema outside;
create table app.loose (id int primary key, b_id int, check (id > 0) not enforced);
create table app.b (id int primary key);
alter table app.loose add constraint a_b foreign key (b_id) references app.b not enforced;
create table outside.o (id int primary key, a_id int constraint o_a references app.loose not enforced);
alter table app.b add o_id int constraint b_o references outside.o not enforced;
insert into app.loose values (1, 99), (-2, 98);
insert into app.b values (1, 97);
create table app.a (id int primary key, n int, twice int generated always as (n * 2) virtual, c int constraint "its name" not null);
insert into app.a (id, n, c) values (1, 10, 1), (2, 20, 2);
create view app.v as select id, twice from app.a;
create table app.room (id int4range, during tstzrange, note text, constraint room_key primary key (id, during without overlaps));
create table app.stay (
  id int4range, during tstzrange, guest text,
  constraint stay_room foreign key (id, period during) references app.room (id, period during)
);
create table outside.cleaning (
  id int4range, during tstzrange,
  constraint cleaning_room foreign key (id, period during) references app.room (id, period during)
);
insert into app.room values ('[1,2)', '[2020-01-01,2021-01-01)', 'new'), ('[1,2)', '[2021-01-01,2022-01-01)', 'new');
insert into app.stay values ('[1,2)', '[2020-06-01,2021-06-01)', 'new');
