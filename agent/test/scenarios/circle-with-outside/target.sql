-- as the source
delete from app.a where id = 3;
-- then
insert into app.a values (4, 2);
-- then
delete from app.b where id > 2;
-- then
insert into outside.p values (6, 'six');
