-- as the source
create schema v;
create view v.one as select id, note from app.a;
create view v.two as select one.*, a.n from v.one join app.a using (id);
create view v.three as select id from v.two union all select id from v.one;
create table v.log (what text);
create function v.put() returns trigger language plpgsql as $$ begin insert into v.log values (tg_op); return new; end $$;
create trigger instead instead of insert or update on v.two for each row execute function v.put();
comment on trigger instead on v.two is 'a trigger of a view';
create rule no_delete as on delete to v.three do instead insert into v.log values ('kept');
create rule also as on update to v.one where old.id = 1 do also insert into v.log values ('also');
comment on rule no_delete on v.three is 'a rule of a view';
alter view v.two alter column n set default 7;
create function v.ids() returns setof int language sql as 'select id from v.three';
update app.a set note = 'old';
create schema f;
create function f.rowtype() returns text language plpgsql as $$ declare r app.a%rowtype; x app.a.note%type; begin select * into r from app.a where id = 2; x := r.note; return x; end $$;
create function f.text_sql() returns bigint language sql as 'select count(*) from app.a';
create function f.in_default(n bigint default f.text_sql()) returns bigint language sql as 'select n';
