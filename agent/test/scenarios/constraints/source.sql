create schema app;
create table app.a (id int, code text, during tstzrange, n int, m int, primary key (id) include (n));
insert into app.a select n, 'c' || n, tstzrange(date '2020-01-01' + n, date '2020-01-01' + n + 1), n, n from generate_series(1, 20) n;
