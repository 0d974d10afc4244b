-- as the source
update public.p set note = 'old';
delete from public.p where id in (4, 14);
