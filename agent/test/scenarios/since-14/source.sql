create table public.a (id int primary key, city text);
insert into public.a select n, 'c' || n % 7 from generate_series(1, 50) n;
create table public.c (id int primary key, note text, raw bytea);
insert into public.c select n, repeat('new ' || n, 900), '\x00' from generate_series(1, 3) n;
