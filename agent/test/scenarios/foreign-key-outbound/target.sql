-- as the source
insert into outside.o values (8, 'eight'), (9, 'nine');
update outside.o set name = 'outside';
delete from app.a;
insert into app.a values (7, 8, 'old'), (8, 9, 'old');
