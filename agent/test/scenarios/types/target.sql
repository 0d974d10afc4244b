-- as the source
update app.a set status = 'new', pair = '(9,"old")', doc = '{}';
delete from app.a where id = 2;
update app.b set name = upper(name::text), tags = 'c=>3' where id = 1;
delete from app.b where id = 2;
