create table public.a (id int primary key, name text collate "C", code varchar(9) unique);
insert into public.a values (1, 'B', 'x'), (2, 'a', 'X'), (3, 'é', 'y');
