/*
 * Tables that much depends on, across schemas: `app.a` is what a partial copy takes, and everything here that needs
 * another table must stay out of it. `kept` and `gone` say in the names what becomes of each object then.
 */
export const PARTIAL = String.raw`
create schema app;
create schema other;
create table app.a (id serial primary key, n int not null, note text);
create table app.b (id serial primary key, a_id int references app.a, note text);
create table other.c (id int primary key, b_id int, a_id int constraint c_kept references app.a);
create table app."A.b" ("Id" int primary key, "x" text);
create table app.away (id int primary key);
create table app.spare (id int default nextval('app.b_id_seq'));
create table app.m (id int not null, at date not null, primary key (id, at)) partition by range (at);
create table app.m_1 partition of app.m for values from ('2020-01-01') to ('2021-01-01');
create table app.m_2 partition of app.m for values from ('2021-01-01') to ('2022-01-01');
create table app.base (id int);
create table app.heir (x int) inherits (app.base);
create sequence app.alone start 3;
alter table other.c add constraint c_b foreign key (b_id) references app.b;
comment on constraint c_b on other.c is 'to b';
alter table app.a add column b_id int, add constraint a_gone foreign key (b_id) references app.b;
comment on constraint a_gone on app.a is 'to b as well';
create index a_kept on app.a (n);
comment on index app.a_kept is 'kept';
create statistics app.a_statistics on n, note from app.a;
create statistics app.b_statistics on a_id, note from app.b;

create view app.kept as select id, n from app.a where n > 1;
comment on view app.kept is 'kept';
create view app.gone as select b.id from app.b;
comment on view app.gone is 'gone';
comment on column app.gone.id is 'gone';
create view other.gone_both as select g.id, k.n from app.gone g join app.kept k using (id);
create materialized view app.m_kept as select count(*) as n from app.kept;
create materialized view app.m_gone as select count(*) as n from other.gone_both;
create index on app.m_gone (n);
create function app.f_kept(a app.a) returns int language sql as 'select a.n';
create function app.f_gone(b app.b, "X y" int default 1) returns int language sql as 'select 1';
comment on function app.f_gone(app.b, int) is 'gone';
create function app.rows_gone() returns setof app.b language sql as 'select * from app.b';
create function app.touch() returns trigger language plpgsql as $$ begin return new; end $$;
create trigger a_kept before update on app.a for each row execute function app.touch();
create trigger b_gone before update on app.b for each row execute function app.touch();
create rule a_gone as on delete to app.a do also delete from app.b where a_id = old.id;
comment on rule a_gone on app.a is 'gone';
alter table app.a enable row level security;
create policy kept on app.a for select using (n > 0);
create policy gone on app.a for update using (exists (select from app.b where a_id = a.id));
comment on policy gone on app.a is 'gone';

insert into app.a (n, note) select n, 'note ' || n from generate_series(1, 20) n;
insert into app.b (a_id) select n from generate_series(1, 10) n;
update app.a set b_id = id where id <= 5;
insert into other.c select n, n, n from generate_series(1, 5) n;
insert into app."A.b" values (1, 'x');
insert into app.m select n, date '2020-06-01' + n * 30 from generate_series(1, 15) n;
insert into app.base values (1);
insert into app.heir values (2, 3);
refresh materialized view app.m_kept;
refresh materialized view app.m_gone;
select nextval('app.alone');
`
