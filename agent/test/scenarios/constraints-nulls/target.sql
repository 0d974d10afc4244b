-- as the source
create unique index a_b on public.a (b, a) nulls not distinct;
delete from public.a where a = 1;
