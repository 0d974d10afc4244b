-- as the source
create schema outside;
create table outside.region (id int primary key, name text);
create table outside.audit (what text);
create table outside.invoice (id int primary key, order_id int, customer_id int, event_id int, event_kind text);
insert into outside.region select n, 'region ' || n from generate_series(1, 3) n;
insert into outside.invoice values (1, 7, 7, 1, 'b'), (2, 8, null, null, null);
update shop.customer set note = 'old', spent = 0 where id > 10;
select setval('shop."Order_id_seq"', 700), setval('shop.customer_id_seq', 4, false);
alter table shop.customer
  add constraint customer_code unique (code) deferrable initially deferred,
  add constraint customer_spent check (spent >= 0) not valid,
  add constraint customer_during exclude using gist (during with &&) where (spent > 1),
  add constraint customer_region foreign key (region_id) references outside.region on delete restrict,
  add constraint customer_self foreign key (referred_by) references shop.customer on update cascade deferrable initially deferred,
  add constraint customer_last foreign key (last_order) references shop."Order" deferrable initially immediate;
create unique index order_code on shop."Order" (code) include (total);
alter table shop."Order"
  add constraint "Order customer; fk" foreign key (customer_id) references shop.customer on delete set null,
  add constraint order_code_self foreign key (code) references shop."Order" (code);
alter table shop.event add constraint event_customer foreign key (customer_id) references shop.customer;
alter table outside.invoice
  add constraint invoice_order foreign key (order_id) references shop."Order" on delete cascade,
  add constraint invoice_customer foreign key (customer_id) references shop.customer not valid,
  add constraint invoice_event foreign key (event_id, event_kind) references shop.event (id, kind) match full;
comment on constraint invoice_order on outside.invoice is 'from outside';
comment on constraint event_customer on shop.event is 'of a partitioned table';
create index partial on shop.customer (spent desc nulls last) where spent > 10;
create index with_options on shop.customer (code text_pattern_ops) include (email) with (fillfactor = 60);
create index clustered on shop."Order" (at);
alter table shop."Order" cluster on clustered;
alter table shop."Order" alter column code set not null;
create unique index identified on shop."Order" (id, code);
alter table shop."Order" replica identity using index identified;
create index event_at on shop.event (at);
create index event_own on shop.event_rest (customer_id);
alter table shop.customer alter column note set storage external, alter column email set statistics 250, alter column note set default 'none';
alter table shop.customer set (fillfactor = 80, toast.autovacuum_enabled = false);
create statistics shop.customer_statistics (dependencies, ndistinct) on email, code from shop.customer;
comment on table shop.customer is 'it''s ours';
grant select on shop.customer to scenario_reader;
grant update (note, email) on shop.customer to scenario_reader with grant option;
alter table shop.event owner to scenario_owner;
alter table shop.event_a owner to scenario_owner;
alter table shop."Order" owner to scenario_owner;
alter default privileges in schema shop grant select on tables to public;
create function outside.refuse() returns trigger language plpgsql as $$ begin raise exception 'nobody writes here'; end $$;
create trigger refuse_always before insert or update or delete on shop.customer for each row execute function outside.refuse();
create trigger refuse_truncate before truncate on shop.customer for each statement execute function outside.refuse();
alter table shop.customer enable always trigger refuse_always;
create constraint trigger late after insert on shop."Order" deferrable initially deferred for each row execute function outside.refuse();
create trigger of_all after insert on shop.event for each row execute function outside.refuse();
alter table shop.event_rest enable always trigger of_all;
create rule noted as on insert to shop.member do also insert into outside.audit (what) values ('member');
alter table shop.customer enable row level security;
create policy nobody on shop.customer as restrictive for all to scenario_reader using (false) with check (note = current_user);
create view outside.plain with (security_barrier) as select id, email from shop.customer where spent > 5;
create view outside.grouped as select c.id, c.email, count(o.id) as orders from shop.customer c left join shop."Order" o on o.customer_id = c.id group by c.id;
create materialized view outside.totals as select customer_id, sum(total) as total from shop."Order" group by customer_id;
create unique index totals_customer on outside.totals (customer_id);
create materialized view outside.a_total_of_totals as select count(*) as n, sum(total) as total from outside.totals;
create materialized view outside.of_events as select count(*) as n from shop.event;
create materialized view outside.not_yet as select count(*) as n from shop.customer with no data;
create view outside.whole as select c as customer, t.n from shop.customer c, outside.a_total_of_totals t;
create table outside.borrower (id int default nextval('shop."Order_id_seq"'));
create policy by_customer on outside.invoice using (customer_id in (select id from shop.customer));
create rule by_rule as on delete to outside.region do instead delete from shop.person where person.id = old.id;
grant select on outside.grouped to scenario_reader;
