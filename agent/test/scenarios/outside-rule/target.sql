-- as the source
create schema outside;
create table outside.written (what text);
create rule copies as on insert to outside.written do also insert into app.a values (102, new.what);
create rule always as on delete to outside.written do instead delete from app.a where note = old.what;
alter table outside.written enable always rule always;
create table app.ruled (id int primary key, note text);
create rule own as on insert to app.a where new.id < 0 do instead nothing;
create rule off as on update to app.a do also insert into outside.written values ('off');
alter table app.a disable rule off;
comment on rule own on app.a is 'its own rule';
update app.a set note = 'old';
delete from app.a where id = 2;
