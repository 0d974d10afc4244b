create schema app;
create schema outside;
create table app.room (id int4range, during tstzrange, note text, constraint room_key primary key (id, during without overlaps));
create table app.stay (
  id int4range, during tstzrange, guest text,
  constraint stay_room foreign key (id, period during) references app.room (id, period during)
);
create table outside.cleaning (
  id int4range, during tstzrange,
  constraint cleaning_room foreign key (id, period during) references app.room (id, period during)
);
insert into app.room values ('[1,2)', '[2020-01-01,2021-01-01)', 'new'), ('[1,2)', '[2021-01-01,2022-01-01)', 'new');
insert into app.stay values ('[1,2)', '[2020-06-01,2021-06-01)', 'new');
