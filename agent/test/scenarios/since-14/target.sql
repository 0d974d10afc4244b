-- as the source
create statistics public.e on (lower(city)), (id % 7) from public.a;
create statistics public."one; e" on (id % 3) from public.a;
delete from public.a where id > 20;
alter table public.c alter column note set compression pglz, alter column note set storage extended;
update public.c set note = 'old';
