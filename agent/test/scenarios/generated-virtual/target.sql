-- as the source
update public.a set n = 0;
