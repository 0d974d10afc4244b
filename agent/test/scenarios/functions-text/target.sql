-- as the source
create schema f;
create function f.rowtype() returns text language plpgsql as $$ declare r app.a%rowtype; x app.a.note%type; begin select * into r from app.a where id = 2; x := r.note; return x; end $$;
create function f.text_sql() returns bigint language sql as 'select count(*) from app.a';
create function f.in_default(n bigint default f.text_sql()) returns bigint language sql as 'select n';
delete from app.a where id = 5;
update app.a set note = 'old';
