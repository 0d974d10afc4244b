/** `apart` is what a swap keeps aside, `live` everything else; nothing points from one to the other. */
export const schema = `
create schema apart;
create schema live;
create type apart.kind as enum ('a');
create domain apart.positive as int check (value > 0);
create type apart.span as range (subtype = float8);
create function apart.trigger() returns trigger language plpgsql as 'begin return new; end';
create table apart.a (id serial primary key, n apart.positive, kind apart.kind, code text unique deferrable, long text,
  self int references apart.a, check (n < 9));
create index a_n on apart.a (n) where n > 1;
create table apart.b (a int references apart.a, g int generated always as identity);
create table apart.part (id int primary key, a int references apart.a) partition by range (id);
create table apart.part_1 partition of apart.part for values from (0) to (9);
create view apart.v as select * from apart.a;
create materialized view apart.m as select a, apart.a.id from apart.a;
create statistics apart.s on n, code from apart.a;
create trigger t before insert on apart.a for each row execute function apart.trigger();
create constraint trigger ct after insert on apart.a from apart.b for each row execute function apart.trigger();
create rule r as on delete to apart.b do also select 1 from apart.a;
create policy p on apart.b using (exists (select from apart.a));
create function apart.f(apart.a) returns setof apart.a language sql as 'select null::apart.a';
comment on table apart.a is 'a';
create function live.trigger() returns trigger language plpgsql as 'begin return new; end';
create table live.o (id serial primary key, n int, a int, unique (n) deferrable, exclude (a with =) deferrable);
create table live.k (id int primary key references live.o);
create view live.v as select id from live.o;
create view live.w as select id from live.v;
create materialized view live.m as select id from live.o;
insert into live.o (n) values (1), (2);
`
