create schema app;
create table app.a (id int, part text, n numeric, doc jsonb, twice numeric generated always as (n * 2) stored, primary key (id, part));
create table app.b (id serial primary key, a_id int, a_part text, foreign key (a_id, a_part) references app.a on delete cascade);
create view app.v as select * from app.a;
insert into app.a select n, 'p', n, jsonb_build_object('n', n) from generate_series(1, 9) n;
insert into app.b (a_id, a_part) select n, 'p' from generate_series(1, 9) n;
