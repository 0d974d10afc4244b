-- as the source
create schema outside;
create table outside.kept (id int, one app.a, many app.a[]);
insert into outside.kept values (1, '(1,kept)', '{"(2,kept)"}');
create type outside.wrapped as (a app.a, at date);
update app.a set note = 'old';
create function app.sane(r app.a) returns boolean language sql immutable as 'select r.id > 0';
alter table app.a add constraint sane check (app.sane(a));
create index a_sane on app.a (app.sane(a));
delete from app.a where id > 3;
