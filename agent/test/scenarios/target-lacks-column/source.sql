create table public.a (id int primary key, note text, fresh int);
create table public.b (id int primary key, n numeric);
insert into public.a values (1, 'new', 1);
