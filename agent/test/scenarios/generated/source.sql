create schema app;
create function app.code(n int) returns text language sql immutable as $$ select 'C' || lpad(n::text, 4, '0') $$;
create function app.today() returns date language sql stable as $$ select date '2024-02-29' $$;
create table app.a (
  id int primary key,
  price numeric(10, 2) not null,
  gross numeric generated always as (price * 1.19) stored,
  code text generated always as (app.code(id)) stored unique,
  at date default app.today(),
  tags text[] default array['x', 'y'] || array[]::text[],
  made timestamptz default now(),
  name name default current_user
);
insert into app.a (id, price) select n, n * 1.11 from generate_series(1, 9) n;
