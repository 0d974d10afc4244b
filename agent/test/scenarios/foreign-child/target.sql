-- as the source
create foreign data wrapper nowhere;
create server far foreign data wrapper nowhere;
create foreign table public.far_a () inherits (public.a) server far;
update only public.a set note = 'old';
