-- as the source
insert into outside.o values (1, 4711);
delete from app.a;
