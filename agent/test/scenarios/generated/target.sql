-- as the source
update app.a set price = 0;
delete from app.a where id > 4;
