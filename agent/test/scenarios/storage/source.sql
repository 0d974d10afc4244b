create schema app;
create table app.a (gone int, id int primary key, note text, doc jsonb, n numeric default 5, gone_too text);
insert into app.a (id, note, doc) select n, repeat('new ' || n, 900), '{}' from generate_series(1, 8) n;
alter table app.a drop column gone, drop column gone_too;
alter table app.a add column late int not null default 3;
