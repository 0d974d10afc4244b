create schema app;
create table app.a (id int primary key, note text, doc jsonb, at timestamptz, boss int);
create table app.b (id int primary key, a_id int, price numeric(8, 2));
insert into app.a select n, 'new ''' || n || '\', jsonb_build_object('n', n), '2020-01-01', nullif(n - 1, 0) from generate_series(1, 6) n;
insert into app.b select n, 1 + n % 6, n * 1.25 from generate_series(1, 12) n;
