/*
 * A database whose values are hard to carry: every type's extremes, and names that hold what SQL, paths and shells take
 * for their own. Needs a superuser. What a newer PostgreSQL adds is added from that major on.
 */

/** 63 bytes, the longest that a name can be: with a letter of two bytes at its end. */
const LONGEST = `${'l'.repeat(61)}é`

export function valuesSchema(major: number): string {
  return [TYPES, TABLES, NAMES, TREES, ...(major >= 14 ? [SINCE_14] : []), ...(major >= 18 ? [SINCE_18] : [])].join(
    '\n',
  )
}

/** What happens in a target between two syncs: rows changed, lost and added, sequences moved on. */
export const BREAKAGE = String.raw`
update public.types set text_value = 'changed', json_value = '{}', bytes = null;
delete from public.texts where id % 2 = 0;
insert into public.texts (id, value) values (9001, 'stray');
insert into public.numbers (f8) values ('NaN'), (1);
truncate public.always;
insert into public.always (note) values ('other');
insert into public.zero_columns default values;
insert into public.was_empty values (1);
delete from public.tree where region = 'a';
insert into public.tree (id, region, note) values (77, 'zz', 'stray');
insert into public.base values (100, 'stray');
delete from public.heir;
update one.same set note = 'changed';
insert into two.same values (5, 'stray');
update "up/../../etc"."../passwd %2e%2e" set "a.b" = 'changed';
select nextval('public.texts_id_seq') from generate_series(1, 50);
select setval('public.loose', 3, true);
select setval('"we.ird ""s"" /"."seq ""x"" %s"', 500, false);
`

const TYPES = String.raw`
create type public.mood as enum ('sad', 'it''s', 'a "b", \c', '', ' ', '\N', '{}', 'ünï', '${'e'.repeat(63)}');
create type public.pair as (a int, "B b" text, c public.mood);
create type public.deep as (p public.pair, list public.pair[], at timestamptz);
create domain public.positive as numeric check (value > 0);
create domain public.moods as public.mood[];
create type public.span as range (subtype = float8, subtype_diff = float8mi);

create table public.types (
  id int primary key,
  bool_value boolean, i2 int2, i4 int4, i8 int8, num numeric, num2 numeric(30, 10), f4 float4, f8 float8, cash money,
  text_value text, chars char(5), varchars varchar(10), "char_" "char", name_value name, bytes bytea,
  date_value date, time_value time, timetz_value timetz, ts timestamp, tstz timestamptz, tstz0 timestamptz(0), iv interval,
  bits bit(5), varbits bit varying, uuid_value uuid, json_value json, jsonb_value jsonb, path_value jsonpath,
  ip inet, net cidr, mac macaddr, mac8 macaddr8, vector tsvector, query tsquery,
  pt point, ln line, seg lseg, bx box, pth path, poly polygon, circ circle,
  r4 int4range, r8 int8range, rn numrange, rts tsrange, rtz tstzrange, rd daterange, rs public.span,
  mood public.mood, pair public.pair, deep public.deep, positive public.positive, moods public.moods,
  ints int[], ints2 int[][], texts text[], pairs public.pair[], jsons jsonb[], lower_bounds int[], lsn pg_lsn, snapshot_value txid_snapshot
);
insert into public.types values (1,
  true, -32768, -2147483648, -9223372036854775808, 'NaN', -12345678901234567890.0123456789, '-Infinity', 'NaN', '-92233720368547758.08',
  E'tab\there\nline\r\nback\\slash \\. \\N \'quote\' "double" , ; $$ :x %s {} \b\f\v\u00e9\U0001F600\x01\x7f', 'a', '', '\', '', '\x',
  '4713-11-24 BC', '00:00', '00:00+15:59', '4713-11-24 00:00 BC', '4713-11-24 00:00+00 BC', '0001-01-01 BC', '-178000000 years',
  b'00000', b'', '00000000-0000-0000-0000-000000000000', '{"a": 1,  "a":2, "\u0041":"\\"}', '{"b": [null, true, 1e400, "\\\"\n"]}', '$.a[*] ? (@ > 1)',
  '0.0.0.0/0', '::/0', '00:00:00:00:00:00', 'ff:ff:ff:ff:ff:ff:ff:ff', E'''a\\''\\\\b'':1A,2 c', E'a & !''b c'' | (c:*A <-> d)',
  '(NaN,-Infinity)', '{1,-1,0}', '[(0,0),(1e300,1e-300)]', '(1,1),(0,0)', '[(0,0),(1,1)]', '((0,0),(1,0),(0,1))', '<(0,0),0>',
  'empty', '[,5)', '(,)', '["2000-01-01 00:00:00",infinity)', '[-infinity,"2000-01-01 00:00:00+00")', '[2000-01-01,)', '[-1.5,Infinity]',
  '', '(,,)', '("(1,""x,"""" y"",sad)","{""(1,a,)"",NULL,""(,,)""}","0044-03-15 12:00:00+00 BC")', 0.1, '{sad,"it''s",""}',
  '{NULL,NULL}', '{{1,NULL},{NULL,4}}', E'{"",NULL,"NULL","a,b","{}","\\"","\\\\","tab\there"," "}', array[null, row(1, null, 'sad')]::public.pair[],
  array['null', '{"a":null}', null]::jsonb[], '[-2:0]={1,2,3}', '0/0', '10:20:10,14,15'),
 (2, false, 32767, 2147483647, 9223372036854775807, 1e-300, 0.0000000001, 'Infinity', '-0', '92233720368547758.07',
  '\.', 'abcde', 'abcdefghij', '', '${'n'.repeat(63)}', decode('005c0a0d092e5cff4e', 'hex'),
  '5874897-12-31', '24:00', '24:00-15:59', '294276-12-31 23:59:59.999999', '294276-12-31 23:59:59.999999+00', '1999-12-31 23:59:59.6', '1 year -2 mons +3 days -04:05:06.789',
  b'10101', b'1', 'ffffffff-ffff-ffff-ffff-ffffffffffff', 'null', 'null', 'strict $',
  'fe80::1/64', '10.1.0.0/16', '08:00:2b:01:02:03', '08:00:2b:01:02:03:04:05', '', '',
  '(1e-320,0)', '{0,1,-5}', '[(-1,-2),(3,4)]', '(3,4),(-1,-2)', '((0,0),(1,1),(2,0))', '((0,0),(1,1))', '<(1,2),3.5>',
  '[1,10)', '[-9223372036854775808,)', '[1.1,1.10]', 'empty', '["0044-03-15 00:00:00+00 BC",)', '[4713-11-24 BC,infinity)', 'empty',
  'a "b", \c', row(1, E'comma, "quote" \\ (paren)', '\N'), null, 1e50, '{}',
  '{}', '{{{1}},{{2}}}', '{}', '{}', '{}', null, 'FFFFFFFF/FFFFFFFF', null),
 (3, null, null, null, null, '1.000', null, 1.17549435e-38, 4.9406564584124654e-324, null,
  '', null, null, null, null, null, 'infinity', '23:59:59.999999', null, 'infinity', '-infinity', 'infinity', '00:00', null, null, null, '""', '"\u0001"', null,
  '255.255.255.255', '192.168.0.0/24', null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null,
  '${'e'.repeat(63)}', null, null, null, null, null, null, null, null, null, null, null, null);
insert into public.types (id) values (4);
`

const TABLES = String.raw`
create table public.texts (id serial primary key, value text);
insert into public.texts (value) values (''), (null), ('\.'), ('\N'), (E'\\'), ('\\'), (E'\n'), (E'\r'), (E'\r\n'), (E'\t'), (' '), (E'\\.\n'), (E'a\n\\.\nb'),
  ('\x00'), (E'\x01\x02\x1a\x1b\x7f'), ('"'), (''''), ('NULL'), ('null'), ('--'), ('/* x'), ('$1'), (':x'), ('%'), ('%00'), (E'\u2028\u2029\ufeff'), (E'\U0001F600'), (E'e\u0301'), (E'\ufffd'),
  (repeat('x', 300000)), (repeat(E'\\\n', 70000));
create table public.numbers (n serial, f8 float8, f4 float4, primary key (n));
insert into public.numbers (f8, f4) select (random() * 10 ^ ((i % 600) - 300))::float8, (random() * 10 ^ (i % 30))::float4 from generate_series(1, 500) i;
create table public.always (id int generated always as identity (start with 7 increment by 5), note text, twice text generated always as (note || note) stored);
insert into public.always (note) values ('a'), (null), (E'\\');
create table public.by_default (id bigint generated by default as identity primary key, n int default 5, half numeric generated always as (n / 2.0) stored, note text);
insert into public.by_default (id, note) values (900, 'set'), (default, 'counted');
alter table public.by_default add column dropped int;
alter table public.by_default drop column dropped, alter column note set not null;
create table public.only_generated (one int generated always as (1) stored);
insert into public.only_generated default values;
insert into public.only_generated default values;
create table public.zero_columns ();
insert into public.zero_columns select from generate_series(1, 4);
create table public.zero_left (a int);
insert into public.zero_left values (1);
alter table public.zero_left drop column a;
create table public.nothing ();
create table public.was_empty (id int primary key);
create unlogged table public.fast (id int primary key, note text);
insert into public.fast values (1, 'unlogged');
create sequence public.loose increment -3 minvalue -100 maxvalue 100 start 50 cycle;
select nextval('public.loose');
create sequence public.untouched start 42;
create sequence public.at_its_end maxvalue 10;
select setval('public.at_its_end', 10);
create table public.documents (id int, body xml);
do $do$ begin
  insert into public.documents values (1, '<a b="&lt;">t</a>'), (2, '<?xml version="1.0"?><r/>'), (3, E'no\\n&amp; <x/>'), (4, null);
exception when feature_not_supported then null; -- a server without libxml has the type but no values
end $do$;
create schema one;
create schema two;
create table one.same (id int primary key, note text);
create table two.same (id serial primary key, note text);
insert into one.same values (1, 'one');
insert into two.same values (1, 'two'), (2, 'two');
create index same_note on one.same (note);
create index same_note on two.same (note);
`

const NAMES = String.raw`
create schema "we.ird ""s"" /";
create schema "up/../../etc";
create schema "${LONGEST}";
create schema "界 ${'\n'}line";
create schema "Select";
create type "we.ird ""s"" /"."en.um ""e""" as enum ('a', '../..', '"', '%2F');
create sequence "we.ird ""s"" /"."seq ""x"" %s" start 11;
select nextval('"we.ird ""s"" /"."seq ""x"" %s"');
create table "we.ird ""s"" /"."ta.b""le %s 'x'; --" ("co.l""umn" serial, "," "we.ird ""s"" /"."en.um ""e""" default '"', "%d \ $1" text, primary key ("co.l""umn"));
insert into "we.ird ""s"" /"."ta.b""le %s 'x'; --" ("%d \ $1") values (E'\\'), ('"'), (null);
create table "up/../../etc"."../passwd %2e%2e" ("a.b" text, " " int);
insert into "up/../../etc"."../passwd %2e%2e" values ('root', 1);
create table "up/../../etc"."." ("." int);
insert into "up/../../etc"."." values (1);
create table "up/../../etc".".." (".." int);
insert into "up/../../etc".".." values (2);
create table "${LONGEST}"."${LONGEST}" ("${LONGEST}" serial primary key, v text);
insert into "${LONGEST}"."${LONGEST}" (v) values ('long'), (null);
create table "界 ${'\n'}line"."界 ${'\n'}table" ("界 ${'\n'}column" int generated by default as identity, "tab${'\t'}" text);
insert into "界 ${'\n'}line"."界 ${'\n'}table" ("tab${'\t'}") values (E'\t'), ('界');
create table "Select"."Table" ("Order" int primary key, "select" text, "USER" text);
create table "Select"."table" ("Order" int references "Select"."Table");
insert into "Select"."Table" values (1, 'a', 'b');
insert into "Select"."table" values (1), (null);
create table "Select"."a,b*?" (x int);
insert into "Select"."a,b*?" values (1);
`

const TREES = String.raw`
create table public.tree (id int not null, region text, note text default 'root', made date default '2020-02-02') partition by list (region);
create table public.tree_a (note text default 'of a', made date, region text, dropped int, id int not null) partition by range (id);
alter table public.tree_a drop column dropped;
alter table public.tree attach partition public.tree_a for values in ('a', 'it''s');
create table public.tree_a_low partition of public.tree_a for values from (minvalue) to (10);
create table public.tree_a_high (made date, id int not null, note text, region text);
alter table public.tree_a attach partition public.tree_a_high for values from (10) to (maxvalue);
create table public.tree_null partition of public.tree for values in (null);
create table public.tree_rest partition of public.tree default partition by hash (id);
create table public.tree_rest_0 partition of public.tree_rest for values with (modulus 3, remainder 0);
create table public.tree_rest_1 partition of public.tree_rest for values with (modulus 3, remainder 1);
create table public.tree_rest_2 partition of public.tree_rest for values with (modulus 3, remainder 2);
create index on public.tree (made);
insert into public.tree (id, region) select n, (array['a', 'it''s', 'b', 'c', null])[1 + n % 5] from generate_series(1, 60) n;
create table public.no_partitions (id int) partition by hash (id);
create table public.base (id int primary key, note text);
create table public.heir (extra text, note text default 'heir') inherits (public.base);
create table public.second_base (other int);
create table public.grandchild () inherits (public.heir, public.second_base);
insert into public.base values (1, 'base');
insert into public.heir values (2, 'from heir', 'x');
insert into public.grandchild (id, note, extra, other) values (3, 'deep', 'y', 4);
insert into public.second_base values (9);
`

const SINCE_14 = String.raw`
create table public.multiranges (m4 int4multirange, mts tstzmultirange, ms nummultirange, n numeric);
insert into public.multiranges values ('{}', '{["0044-03-15 00:00:00+00 BC",infinity)}', '{[1,2),(3,4]}', 'Infinity'), ('{[1,5),[7,)}', null, '{empty}', '-Infinity');
`

const SINCE_18 = String.raw`
create table public.virtuals (a int, b int generated always as (a * 2) virtual, c text, d text generated always as (upper(c)) stored);
insert into public.virtuals (a, c) values (1, 'x'), (null, null), (-5, '\.');
create table public.only_virtual (one int generated always as (1) virtual);
insert into public.only_virtual default values;
`
