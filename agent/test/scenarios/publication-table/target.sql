-- as the source
create publication subset for table app.a with (publish = 'insert, update, delete');
update app.a set note = 'old' where id = 1;
insert into app.a values (3, 'old');
delete from app.b;
