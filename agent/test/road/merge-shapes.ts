/* Tables, and their rows in a source and a target, that merging has to get right. */

export const shapesFor = (major: number): string => SHAPES + (major >= 18 ? SHAPES_SINCE_18 : '')
export const sourceRowsFor = (major: number): string => SOURCE_ROWS + (major >= 18 ? SOURCE_ROWS_SINCE_18 : '')
export const targetRowsFor = (major: number): string => TARGET_ROWS + (major >= 18 ? TARGET_ROWS_SINCE_18 : '')

const SHAPES_SINCE_18 = String.raw`
alter table m.low add constraint of_no_force foreign key (id) references m.top not enforced;
create table m.span (n int primary key, id int4range, during daterange, unique (id, during without overlaps));
create table m.span_child (n int primary key, id int4range, at daterange, foreign key (id, period at) references m.span (id, period during));
`

const SOURCE_ROWS_SINCE_18 = String.raw`
insert into m.span values (1, '[1,2)', '[2020-01-01,2021-01-01)'), (2, '[1,2)', '[2021-01-01,2022-01-01)');
insert into m.span_child values (1, '[1,2)', '[2020-06-01,2021-06-01)');
`

const TARGET_ROWS_SINCE_18 = String.raw`
insert into m.span values (1, '[1,2)', '[2020-01-01,2023-01-01)');
insert into m.span_child values (1, '[1,2)', '[2020-02-01,2020-03-01)'), (2, '[1,2)', '[2022-06-01,2022-07-01)');
`

/** Tables whose rows are hard to merge, one group a kind. */
const SHAPES = String.raw`
create schema ext; create extension citext schema ext;
create schema m; create schema o;
-- generated columns and identities
create table m.gen (id int generated always as identity primary key, a int, twice int generated always as (a * 2) stored, note text);
create table m.fixed (k int primary key, n int generated always as identity, note text);
create table m.fixed_child (k int primary key, fixed_k int references m.fixed on delete cascade);
-- equality that is not sameness
create table m.ci (k ext.citext primary key, n numeric);
create table m.ci_child (id int primary key, k ext.citext references m.ci on update cascade);
create table m.ci_plain (id int primary key, k ext.citext references m.ci);
create table m.num (k numeric primary key, note text);
create table m.odd (id int primary key, n numeric, j json, p point, f float8, arr int[], c char(5), x xml, t text);
-- no more than a key, no rows on one side or both
create table m.just_key (a int, b text, primary key (b, a));
create table m.none (id int primary key);
create table m.only_there (id int primary key, v text);
create table m.only_here (id int primary key, v text);
-- trees of both kinds
create table m.tree (id int not null, region text not null, v text, primary key (id, region)) partition by list (region);
create table m.tree_a partition of m.tree for values in ('a');
create table m.tree_rest (v text, region text not null, id int not null) partition by range (id);
alter table m.tree attach partition m.tree_rest default;
create table m.tree_low partition of m.tree_rest for values from (minvalue) to (10);
create table m.tree_high partition of m.tree_rest for values from (10) to (maxvalue);
create table m.loose (id int, region text, parent int, parent_region text,
  foreign key (parent, parent_region) references m.tree (id, region) on delete cascade) partition by list (region);
create table m.loose_a partition of m.loose (primary key (id)) for values in ('a');
create table m.loose_rest partition of m.loose (primary key (id)) default;
create table m.base (id int primary key, v text);
create table m.heir (extra text, primary key (id)) inherits (m.base);
-- keys: to itself, in a circle, checked late, with actions
create table m.self (id int primary key, parent int references m.self on delete cascade, v text);
create table m.egg (id int primary key, hen int);
create table m.hen (id int primary key, egg int references m.egg on delete cascade);
alter table m.egg add foreign key (hen) references m.hen on delete set null;
create table m.late_a (id int primary key, b int);
create table m.late_b (id int primary key, a int references m.late_a deferrable);
alter table m.late_a add foreign key (b) references m.late_b deferrable initially deferred;
create table m.top (id int primary key, v text);
create table m.mid (id int primary key, top int not null references m.top on delete cascade on update cascade, v text);
create table m.low (id int primary key, mid int references m.mid on delete set null);
create table m.unsure (id int primary key, top int);
insert into m.unsure values (1, 77);
alter table m.unsure add foreign key (top) references m.top not valid;
-- values that move between rows
create table m.uniq (id int primary key, code text not null unique, during int4range, v text, exclude using gist (during with &&));
create table m.uniq_child (id int primary key, uniq int references m.uniq on delete cascade, code text references m.uniq (code) on update cascade);
create table m.uniq_alone (id int primary key, code text unique, lower_code text);
create unique index on m.uniq_alone (lower(lower_code)) where lower_code <> '';
create table m.uniq_late (id int primary key deferrable, n int unique deferrable initially deferred);
-- owned by others, watched, hidden
create table m."we ird ""t""" ("I d" serial primary key, "s" text, "l" text, "c" int);
create table m.watched (id int primary key, v text);
create function m.refuse() returns trigger language plpgsql as $$ begin raise exception 'fired'; end $$;
create trigger row before insert or update or delete on m.watched for each row execute function m.refuse();
create trigger always after insert or update or delete on m.watched for each statement execute function m.refuse();
create trigger off before insert on m.watched for each row execute function m.refuse();
create constraint trigger late after insert or update on m.watched deferrable initially deferred for each row execute function m.refuse();
alter table m.watched enable row level security;
create policy nobody on m.watched using (false);
create materialized view o.plain as select count(*) as n, sum(id) as ids from m.top;
create materialized view o.keyed as select id, v from m.top;
create unique index on o.keyed (id);
create materialized view o.of_plain as select n + 1 as n from o.plain;
`

/** The triggers' states, and what the materialized views hold: after either's rows. */
export const WATCH = `alter table m.watched enable trigger all; alter table m.watched enable always trigger always;
  alter table m.watched disable trigger off; refresh materialized view o.keyed; refresh materialized view o.plain;
  refresh materialized view o.of_plain;`

const SOURCE_ROWS = String.raw`
insert into m.gen (id, a, note) overriding system value values (1, 1, 'same'), (2, 5, 'changed'), (4, 4, 'new');
insert into m.fixed (k, n, note) overriding system value values (1, 10, 'same'), (2, 21, 'changed'), (4, 40, 'new');
insert into m.fixed_child values (1, 1), (2, 2), (3, 4);
insert into m.ci values ('Same', 1), ('CASE', 1.00), ('new', 3);
insert into m.ci_child values (1, 'Same'), (2, 'CASE'), (3, 'new');
insert into m.ci_plain values (1, 'same'), (2, 'CASE');
insert into m.num values (1.0, 'same'), (2.00, 'scale');
insert into m.odd values (1, 1.0, '{"a": 1}', '(1,2)', 0, '{1,2}', 'a', null, null), (2, 1.00, '{"a":1}', '(1,3)', '-0', '[0:1]={1,2}', 'b', null, repeat('y', 100000)),
  (3, null, null, null, 'NaN', '{NULL}', '', null, '');
insert into m.just_key values (1, 'a'), (2, 'b'), (2, 'c');
insert into m.only_there select n, 'v' || n from generate_series(1, 50) n;
insert into m.tree values (1, 'a', 'same'), (2, 'b', 'moved'), (30, 'b', 'moved by range'), (4, 'a', 'new'), (5, 'c', 'changed');
insert into m.loose values (1, 'a', 1, 'a'), (2, 'b', 2, 'b'), (3, 'b', 30, 'b');
insert into m.base values (1, 'base'), (2, 'both');
insert into m.heir values (2, 'both', 'changed'), (3, 'heir', 'new');
insert into m.self values (1, null, 'root'), (2, 1, 'same'), (5, 1, 'new parent'), (3, 5, 'moved below the new'), (6, 3, 'new below old');
insert into m.egg values (1, null), (2, null), (4, null);
insert into m.hen values (1, 1), (2, 4), (3, 2);
update m.egg set hen = id where id < 3;
insert into m.late_a values (1, 1), (3, 4);
insert into m.late_b values (1, 1), (4, 3);
insert into m.top values (1, 'same'), (2, 'changed'), (9, 'new');
insert into m.mid values (1, 1, 'same'), (2, 9, 'to the new'), (3, 2, 'kept'), (9, 9, 'new');
insert into m.low values (1, 1), (2, 9), (3, null), (4, 2);
insert into m.unsure values (2, 9);
insert into m.uniq values (1, 'b', '[1,5)', 'swapped'), (2, 'a', '[5,9)', 'swapped'), (3, 'c', '[9,10)', 'same'), (5, 'd', '[20,30)', 'has the code of a row that went');
insert into m.uniq_child values (1, 1, 'b'), (2, 2, 'a'), (3, 3, 'c'), (5, 5, 'd');
insert into m.uniq_alone values (1, 'b', 'X'), (2, 'a', 'y'), (3, 'c', '');
insert into m.uniq_late values (1, 2), (2, 1), (3, 3);
insert into m."we ird ""t""" ("s", "l", "c") values ('a', 'b', 1), ('x', null, 2), (null, 'c', 3);
alter table m.watched disable trigger all;
insert into m.watched values (1, 'same'), (2, 'changed'), (3, 'new');
`

const TARGET_ROWS = String.raw`
insert into m.gen (id, a, note) overriding system value values (1, 1, 'same'), (2, 2, 'changed'), (3, 3, 'gone');
insert into m.fixed (k, n, note) overriding system value values (1, 10, 'same'), (2, 20, 'changed'), (3, 30, 'gone');
insert into m.fixed_child values (1, 1), (2, 3), (4, 2);
insert into m.ci values ('Same', 1), ('case', 1.0), ('gone', 3);
insert into m.ci_child values (1, 'Same'), (2, 'case'), (4, 'gone');
insert into m.ci_plain values (1, 'same'), (2, 'case'), (3, 'gone');
insert into m.num values (1.0, 'same'), (2.0, 'scale');
insert into m.odd values (1, 1.0, '{"a": 1}', '(1,2)', 0, '{1,2}', 'a', null, null), (2, 1.0, '{"a": 1}', '(1,2)', 0, '{1,2}', 'b', null, repeat('x', 100000)),
  (3, null, null, null, 'NaN', '{NULL}', '', null, null);
insert into m.just_key values (1, 'a'), (2, 'b'), (3, 'c');
insert into m.only_here select n, 'v' || n from generate_series(1, 50) n;
insert into m.tree values (1, 'a', 'same'), (2, 'a', 'moved'), (3, 'b', 'moved by range'), (6, 'a', 'gone'), (5, 'c', 'old');
insert into m.loose values (1, 'a', 1, 'a'), (2, 'a', 2, 'a'), (3, 'b', 6, 'a'), (4, 'a', 6, 'a');
insert into m.base values (1, 'base'), (2, 'old'), (3, 'gone');
insert into m.heir values (2, 'both', 'old'), (1, 'gone', 'gone');
insert into m.self values (1, null, 'root'), (2, 1, 'same'), (4, 1, 'gone'), (3, 4, 'below one that goes'), (7, 4, 'gone with it');
insert into m.egg values (1, null), (2, null), (3, null);
insert into m.hen values (1, 1), (2, 2), (4, 3);
update m.egg set hen = id where id < 3;
update m.egg set hen = 4 where id = 3;
insert into m.late_a values (1, 2), (2, 1);
insert into m.late_b values (1, 1), (2, 2);
insert into m.top values (1, 'same'), (2, 'old'), (3, 'gone');
insert into m.mid values (1, 1, 'same'), (2, 3, 'to the new'), (3, 2, 'kept'), (4, 3, 'gone');
insert into m.low values (1, 1), (2, 4), (3, 3), (5, 4);
insert into m.uniq values (1, 'a', '[1,5)', 'old'), (2, 'b', '[5,6)', 'old'), (3, 'c', '[9,10)', 'same'), (4, 'd', '[21,22)', 'gone');
insert into m.uniq_child values (1, 1, 'a'), (2, 2, 'b'), (3, 3, 'c'), (4, 4, 'd');
insert into m.uniq_alone values (1, 'a', 'y'), (2, 'b', 'x'), (4, 'c', 'Z');
insert into m.uniq_late values (1, 1), (2, 2), (4, 3);
insert into m."we ird ""t""" ("s", "l", "c") values ('a', 'b', 1), ('y', 'l', 3);
select setval('m."we ird ""t""_I d_seq"', 500);
alter table m.watched disable trigger all;
insert into m.watched values (1, 'same'), (2, 'old'), (4, 'gone');
`

/** A team's tables: what most programs have. */
export const TEAM = String.raw`
create schema t;
create table t.person (id int primary key, name text, boss int);
create table t.task (id int primary key, person int references t.person on delete cascade on update cascade);
create table t.plain (id int primary key, v text);
create table t.kid (w text, primary key (id)) inherits (t.plain);
create view t.names as select id, name from t.person;
create materialized view t.counted as select 1 as one, count(*) as n from t.person;
create unique index on t.counted (one);
insert into t.person select n, 'person ' || n from generate_series(1, 20) n;
insert into t.task select n, n from generate_series(1, 20) n;
insert into t.plain select n, 'v' from generate_series(1, 5) n;
insert into t.kid select n, 'v', 'w' from generate_series(11, 13) n;
refresh materialized view t.counted;
`
/** What the team's archive lacks and has otherwise. */
export const TEAM_CHANGES = `delete from t.task where id = 20; delete from t.person where id = 20;
  update t.person set name = 'changed' where id <= 5; insert into t.person values (21, 'new');
  update t.kid set w = 'changed' where id = 11; delete from t.kid where id = 12`
