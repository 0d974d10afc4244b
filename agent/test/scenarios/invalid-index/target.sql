-- as the source
create index half_built on public.a (note);
update pg_index set indisvalid = false where indexrelid = 'public.half_built'::regclass;
update public.a set note = 'old';
