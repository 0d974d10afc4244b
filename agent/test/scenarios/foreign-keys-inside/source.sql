create schema app;
create table app.team (id int primary key, lead_id int, code text unique);
create table app.person (
  id int primary key, team_id int, boss_id int references app.person on delete set null on update cascade, team_code text,
  first int, second int, constraint person_pair unique (id, first)
);
alter table app.team add constraint team_lead foreign key (lead_id) references app.person deferrable initially deferred;
alter table app.person
  add constraint "person's team" foreign key (team_id) references app.team on delete cascade deferrable,
  add constraint person_code foreign key (team_code) references app.team (code) on update set default,
  add constraint person_self_pair foreign key (second, first) references app.person (id, first) match full;
comment on constraint "person's team" on app.person is 'it''s a circle';
create table app.note (id serial primary key, person_id int not null references app.person, team_id int references app.team);
create index on app.note (person_id);
-- then
begin;
insert into app.team select n, n * 10, 'T' || n from generate_series(1, 4) n;
insert into app.person select n * 10, n, case when n > 1 then (n - 1) * 10 end, 'T' || n, n, n * 10 from generate_series(1, 4) n;
insert into app.note (person_id, team_id) select n * 10, n from generate_series(1, 4) n;
commit;
