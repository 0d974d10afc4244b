create table public.a (id int, note text);
insert into public.a values (1, 'new');
