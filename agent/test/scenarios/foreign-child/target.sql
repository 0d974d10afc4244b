-- as the source
create extension file_fdw;
create server files foreign data wrapper file_fdw;
create foreign table public.far_a () inherits (public.a) server files options (filename '/dev/null');
update only public.a set note = 'old';
