create table public.a (id int primary key, note text);
create table public.b (id int primary key);
insert into public.a values (1, 'new');
