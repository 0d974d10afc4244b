create table public.p (id int primary key, note text) partition by range (id);
create table public.p_1 partition of public.p for values from (0) to (10);
create table public.p_2 partition of public.p for values from (10) to (20);
insert into public.p select n, 'new' from generate_series(0, 19) n;
