create table public.member (id int primary key, email text, deleted_at date);
create table public.other (id int primary key);
insert into public.member values (1, 'a@example.org', null), (2, 'a@example.org', null), (3, 'b@example.org', '2020-01-01');
insert into public.other values (1);
