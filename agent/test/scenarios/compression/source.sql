create table public.a (id int primary key, note text, raw bytea);
insert into public.a select n, repeat('new ' || n, 900), '\x00' from generate_series(1, 3) n;
