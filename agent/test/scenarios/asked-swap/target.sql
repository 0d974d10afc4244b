-- as the source
create function public.f() returns setof public.a language sql as 'select * from public.a';
update public.a set note = 'old';
