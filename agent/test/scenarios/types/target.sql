-- as the source
update app.a set status = 'new', pair = '(9,"old")', doc = '{}';
delete from app.a where id = 2;
