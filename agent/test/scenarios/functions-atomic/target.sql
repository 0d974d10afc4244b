-- as the source
create schema f;
create function f.total(lowest int) returns bigint language sql stable parallel safe cost 7 begin atomic select sum(n) from app.a where a.n >= lowest; end;
create function f.ids() returns table (id int, "Twice" int) language sql stable rows 5 begin atomic select a.id, a.n * 2 from app.a; end;
create procedure f.bump(by int default 1) language sql begin atomic update app.a set n = n + by; insert into app.a (id, n) values (1000, by); end;
create function f.returning() returns int language sql return (select max(a.id) from app.a);
comment on function f.total(int) is 'atomic';
revoke execute on function f.total(int) from public;
grant execute on function f.total(int) to scenario_reader;
alter function f.ids() set work_mem = '8MB';
update app.a set n = 0;
