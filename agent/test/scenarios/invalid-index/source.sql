create table public.a (id int primary key, note text);
insert into public.a values (1, 'new');
