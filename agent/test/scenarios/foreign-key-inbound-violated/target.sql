-- as the source
insert into app.a values (77, 'old');
create table outside.o (id int primary key, a_id int constraint o_a references app.a on delete cascade);
insert into outside.o values (1, 77);
