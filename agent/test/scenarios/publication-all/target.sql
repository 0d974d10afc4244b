-- as the source
create publication everything for all tables;
update public.a set note = 'old';
