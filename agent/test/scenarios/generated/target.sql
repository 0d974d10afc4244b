-- as the source
update app.a set price = 0;
delete from app.a where id > 4;
delete from public.a;
insert into public.a (note) values ('old');
update public.b set note = 'old';
select setval('public."of b; renamed"', 44);
