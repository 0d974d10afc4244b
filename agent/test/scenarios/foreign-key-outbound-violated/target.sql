-- as the source
delete from app.a where id > 2;
delete from outside.o where id > 3;
