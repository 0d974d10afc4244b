-- as the source
delete from app.a;
insert into app.a values (7, 7);
