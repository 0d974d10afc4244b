-- as the source
delete from app.of_event;
delete from app.event where id > 50;
update app.event set note = 'old';
truncate public.watched;
alter table app.event_a_1 set (fillfactor = 60);
comment on table app.event_a_1 is 'a partition';
