create table public.a (id int primary key, city text);
insert into public.a select n, 'c' || n % 7 from generate_series(1, 50) n;
