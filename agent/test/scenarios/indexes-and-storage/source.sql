create schema app;
create table app.a (gone int, id int primary key, note text, doc jsonb, n numeric default 5, gone_too text);
insert into app.a (id, note, doc) select n, repeat('new ' || n, 900), '{}' from generate_series(1, 8) n;
alter table app.a drop column gone, drop column gone_too;
alter table app.a add column late int not null default 3;
create schema ext;
create extension pg_trgm schema ext;
create table app.b (id int primary key, name text, doc jsonb, at timestamptz, tags text[], during tsrange, p point, n int);
insert into app.b select n, 'new ' || n, jsonb_build_object('n', n), '2020-01-01', array['t' || n], null, point(n, n), n from generate_series(1, 50) n;
