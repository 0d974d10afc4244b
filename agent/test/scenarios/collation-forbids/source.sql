create table public.a (id int primary key, code text unique);
insert into public.a values (1, 'x'), (2, 'X');
