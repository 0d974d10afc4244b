-- as the source
create table outside.o (id int, a_id int constraint o_a references app.a) partition by list (id);
create table outside.o_1 partition of outside.o default;
update app.a set note = 'old';
insert into app.a values (6, 'old');
insert into outside.o values (1, 1);
