create schema app;
create schema kinds;
create type kinds.status as enum ('new', 'it''s done', '');
create type kinds.pair as (a int, "B" text collate "C");
create type kinds.span as range (subtype = float8, subtype_diff = float8mi);
create domain kinds.positive as int constraint above_zero check (value > 0);
create domain kinds.emails as text[] check (array_length(value, 1) < 5);
create table app.a (
  id int primary key, status kinds.status not null default 'new', statuses kinds.status[],
  pair kinds.pair, pairs kinds.pair[], span kinds.span, pos kinds.positive default 1, emails kinds.emails,
  doc jsonb, raw bytea, at timestamptz(3), bits bit varying(7), ip inet, during daterange, iv interval day to second(2), f float8
);
insert into app.a values
  (1, '', '{new,"it''s done"}', '(1,"a,b")', '{"(1,x)","(,)"}', '[1.5,2.5)', 7, '{a,b}', '{"a": [null, "\u00e9"]}', '\x00ff', '2020-02-29 12:00:00.123+02', '101', '::1/64', '[2020-01-01,)', '1 day 02:03:04.56', 'NaN'),
  (2, 'it''s done', null, null, '{}', 'empty', null, null, 'null', '', 'infinity', '', '10.0.0.1', 'empty', '-1 day', '-0');
create schema ext;
create extension hstore schema ext;
create extension btree_gist schema ext;
create extension citext schema ext;
create table app.b (id int primary key, tags ext.hstore, name ext.citext unique, room int, during tsrange, exclude using gist (room with =, during with &&));
insert into app.b values (1, 'a=>1,b=>NULL', 'New', 1, '[2020-01-01,2020-01-02)'), (2, '', 'Other', 1, '[2020-01-02,2020-01-03)');
create index on app.b using gin (tags);
