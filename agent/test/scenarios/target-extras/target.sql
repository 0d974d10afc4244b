create schema app;
create table app.a (id serial primary key, note text, y int, gone int, extra text not null default 'of the target', x int, twice int generated always as (x * 2) stored);
alter table app.a drop column gone;
create index only_here on app.a (extra, note);
create table app.only_here_too (id serial primary key, a_id int references app.a, note text);
create view app.of_target as select id, extra from app.a;
insert into app.a (id, note, y, x, extra) values (1, 'old', 1, 2, 'changed'), (70, 'old', 1, 2, 'gone with its row');
insert into app.only_here_too (a_id, note) values (1, 'stays');
