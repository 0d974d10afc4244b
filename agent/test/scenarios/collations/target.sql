create collation public.loose (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
create collation public.german (provider = icu, locale = 'de');
create table public.a (id int primary key, name text collate public.german, code varchar(9) unique, loose text collate public.loose);
create index on public.a (name collate "C", code);
create view public.sorted as select string_agg(name, '' order by name) as names from public.a;
insert into public.a values (9, 'old', 'old');
