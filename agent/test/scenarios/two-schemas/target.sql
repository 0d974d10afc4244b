-- as the source
update two.a set note = 'old ' || id;
delete from two.a where id > 2;
delete from one.a where id > 2;
