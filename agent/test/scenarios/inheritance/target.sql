-- as the source
delete from app.person where id in (3, 4);
update app.person set name = 'old';
