-- as the source
create schema outside;
create table outside.o (id int, a_id int, a_part text, foreign key (a_id, a_part) references app.a on delete cascade);
insert into outside.o values (1, 3, 'p');
update app.a set n = 3.0 where id = 3;
delete from app.b where id < 4 or id > 7;
update app.a set id = 100 + id where id > 7;
