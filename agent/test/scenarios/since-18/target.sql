-- as the source
insert into outside.o values (1, 4711);
delete from app.loose;
update app.a set n = 0;
delete from app.stay;
update app.room set note = 'old';
insert into outside.cleaning values ('[1,2)', '[2020-12-01,2021-02-01)');
