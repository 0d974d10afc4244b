-- as the source
update app.a set name = upper(name::text), tags = 'c=>3' where id = 1;
delete from app.a where id = 2;
