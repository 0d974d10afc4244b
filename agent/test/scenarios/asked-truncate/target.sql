-- as the source
create schema outside;
create table outside.o (id int, a_id int references app.a on delete cascade);
insert into outside.o values (1, 3);
update app.a set note = 'old';
delete from app.b;
