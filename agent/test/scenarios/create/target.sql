create schema outside;
create table outside.own (id int primary key);
insert into outside.own values (1);
