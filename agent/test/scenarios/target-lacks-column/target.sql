create table public.a (id int primary key, note text, own int not null);
create table public.b (id int primary key, n int);
insert into public.a values (1, 'old', 1);
