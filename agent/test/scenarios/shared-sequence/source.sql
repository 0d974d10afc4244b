create schema app;
create sequence app.ticket start 1000;
create table app.order_line (id bigint primary key default nextval('app.ticket'), note text);
create table app.refund (id bigint primary key default nextval('app.ticket'), note text);
insert into app.order_line (note) select 'new ' || n from generate_series(1, 5) n;
insert into app.refund (note) select 'new ' || n from generate_series(1, 5) n;
