-- as the source
delete from public.a;
insert into public.a (note) values ('old');
update public.b set note = 'old';
select setval('public."of b; renamed"', 44);
