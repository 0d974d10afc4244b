/** A shop; and previous tables as a swap keeps them, in which every name ends in "before". */
export const MAPPED_SHOP = `
  create type "Size" as enum ('S', 'M');
  create table "Category" (id int primary key, name text not null);
  create table "Part" (id text primary key, "displayName" text not null, price numeric(10,2), "categoryId" int not null,
    size "Size" not null, specs jsonb);
  create table "my.orders" (id int not null, part text, at date not null) partition by range (at);
  create table orders_2024 partition of "my.orders" for values from ('2024-01-01') to ('2025-01-01');
  create table orders_2025 partition of "my.orders" for values from ('2025-01-01') to ('2026-01-01') partition by list (part);
  create table orders_2025_a partition of orders_2025 for values in ('a');
  create table log (id int primary key, says text);
  create table audit () inherits (log);
  create view "PartView" as select p.id, p."displayName", c.name as category from "Part" p join "Category" c on c.id = p."categoryId";
  create view "ViewOfView" as select id, category from "PartView";
  create materialized view "PartCopy" as select * from "Part";
  create schema other;
  create table other.notes (id int primary key, part text, says text);
  create function other.shout(text) returns text language sql immutable as $$select upper($1)$$;
  create function other.read(text) returns text language sql stable as $$select says from other.notes where part = $1$$;
  insert into "Category" values (1, 'Feet');
  insert into "Part" values ('a', 'Foot', 1.5, 1, 'S', '{"w": 1}'), ('b', 'Toe', null, 1, 'M', null);
  insert into "my.orders" values (1, 'a', '2024-05-05'), (2, 'a', '2025-05-05');
  insert into log values (1, 'log');
  insert into audit values (1, 'audit');
  insert into other.notes values (1, 'a', 'note');
  create schema prev_1; create schema prev_2;
  create table prev_1."Part" as select id, "displayName" || ' before' as "displayName", price, "categoryId", size, specs from "Part";
  create table prev_1."Category" as select id, name || ' before' as name from "Category";
  create table prev_1."my.orders" as select id, part || ' before' as part, at from "my.orders";
  create table prev_2.notes as select id, part, says || ' before' as says from other.notes;
`
