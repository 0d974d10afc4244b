create schema app;
create schema ext;
create extension pg_trgm schema ext;
create table app.a (id int primary key, name text, doc jsonb, at timestamptz, tags text[], during tsrange, p point, n int);
insert into app.a select n, 'new ' || n, jsonb_build_object('n', n), '2020-01-01', array['t' || n], null, point(n, n), n from generate_series(1, 50) n;
