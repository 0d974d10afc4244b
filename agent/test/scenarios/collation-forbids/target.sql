create collation public.loose (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
create table public.a (id int primary key, code text collate public.loose, constraint code_once unique (code));
insert into public.a values (1, 'x'), (2, 'y');
