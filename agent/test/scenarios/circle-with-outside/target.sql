-- as the source
delete from app.a where id = 3;
-- then
insert into app.a values (4, 2);
