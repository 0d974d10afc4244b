create schema app authorization scenario_owner;
create table app.a (id int primary key, note text);
alter table app.a owner to scenario_owner;
insert into app.a values (1, 'new'), (2, 'new');
