-- as the source
delete from app.a where id > 2;
-- then
insert into outside.o values (6, 'six');
