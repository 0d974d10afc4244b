create table public.a (a int, b int, unique nulls not distinct (a, b));
insert into public.a values (1, null), (2, null);
