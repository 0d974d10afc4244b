-- as the source
insert into outside.o values (1, 777);
update app.a set self = 4711, n = 0;
update app.b set a_id = 4712, o_id = 4713;
alter table app.a add constraint a_self foreign key (self) references app.a not valid;
alter table app.b add constraint b_a foreign key (a_id) references app.a not valid;
alter table app.b add constraint b_o foreign key (o_id) references outside.o not valid;
alter table outside.o add constraint o_a foreign key (a_id) references app.a not valid;
alter table app.a add constraint a_n check (n > 0) not valid;
comment on constraint o_a on outside.o is 'never held';
