-- as the source
delete from app.stay;
update app.room set note = 'old';
insert into outside.cleaning values ('[1,2)', '[2020-12-01,2021-02-01)');
