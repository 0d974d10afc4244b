-- as the source
alter table public.a alter column note set compression pglz, alter column note set storage extended;
update public.a set note = 'old';
