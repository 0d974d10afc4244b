-- as the source
create table outside.o (id int primary key, a_id int, code text, x int, y int);
insert into outside.o values (1, 1, 'c1', 1, 1), (2, null, null, 2, 2);
delete from app.a where id > 2;
insert into app.a values (99, 'unused', 9, 9);
alter table outside.o
  add constraint o_a foreign key (a_id) references app.a on delete cascade,
  add constraint "o's code" foreign key (code) references app.a (code) on update cascade deferrable initially deferred,
  add constraint o_pair foreign key (x, y) references app.a (x, y) match full;
comment on constraint o_a on outside.o is 'from the outside';
