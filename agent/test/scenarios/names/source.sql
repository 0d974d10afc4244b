create schema "my.schema/ünï ""q""; x";
create table "my.schema/ünï ""q""; x"."Ta""ble; Owner: --" (
  "Id" bigserial primary key,
  "select" text not null default 'a;b''c\d',
  "nnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnné" varchar(20) collate "C",
  "a.b/c" int
);
create table public."tttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttt1" (
  id serial primary key, "Ref" bigint references "my.schema/ünï ""q""; x"."Ta""ble; Owner: --", note text
);
create table public."tttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttt2" (id serial primary key, note text);
create index "iiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiii" on public."tttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttt1" (note);
create index on "my.schema/ünï ""q""; x"."Ta""ble; Owner: --" ("select", "nnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnné");
create table public.multiboard_sync (id int primary key);
create view public."View; ""x""" as select "Id", "a.b/c" as "x;y" from "my.schema/ünï ""q""; x"."Ta""ble; Owner: --";
comment on table "my.schema/ünï ""q""; x"."Ta""ble; Owner: --" is 'uni ☃ \back';
insert into "my.schema/ünï ""q""; x"."Ta""ble; Owner: --" ("a.b/c") values (1), (2);
insert into public."tttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttt1" ("Ref", note) values (1, E'\\.\n\t''');
insert into public."tttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttt2" (note) values ('new');
insert into public.multiboard_sync values (1);
create schema one;
create schema two;
create table one.a (id serial primary key, note text unique);
create table two.a (id serial primary key, note text unique, one_id int references one.a);
create index a_idx on one.a (note, id);
create index a_idx on two.a (note, id);
create view one.v as select * from two.a;
create view two.v as select * from one.a;
insert into one.a (note) select 'one ' || n from generate_series(1, 4) n;
insert into two.a (note, one_id) select 'two ' || n, n from generate_series(1, 4) n;
