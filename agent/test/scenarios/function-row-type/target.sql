-- as the source
create function app.find(wanted int) returns app."Component" language sql stable as 'select * from app."Component" where id = wanted';
create function app.full_name(c app."Component") returns text language sql stable as $$ select c.id || ':' || c.name $$;
update app."Component" set name = 'old';
delete from app."Component" where id = 5;
insert into app."Component" values (9, 'surplus');
