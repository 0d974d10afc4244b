-- as the source
delete from app.a where id > 2;
