-- as the source
update public.p set b = 'old' || a;
delete from public.p where a > 20;
truncate public.r;
