-- as the source
create schema ext;
create extension hstore schema ext;
alter extension hstore add table public.a;
update public.a set note = 'old';
