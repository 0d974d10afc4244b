-- as the source
begin;
delete from app.note where person_id > 10;
update app.person set boss_id = null;
set constraints all deferred;
update app.team set lead_id = 10;
delete from app.person where id > 20;
delete from app.team where id > 2;
commit;
