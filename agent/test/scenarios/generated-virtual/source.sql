create table public.a (id int primary key, n int, twice int generated always as (n * 2) virtual, c int constraint "its name" not null);
insert into public.a (id, n, c) values (1, 10, 1), (2, 20, 2);
create view public.v as select id, twice from public.a;
