-- as the source
create function app.sane(r app.a) returns boolean language sql immutable as 'select r.id > 0';
alter table app.a add constraint sane check (app.sane(a));
create index a_sane on app.a (app.sane(a));
update app.a set note = 'old' where id < 4;
