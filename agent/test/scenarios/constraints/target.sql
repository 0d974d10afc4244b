-- as the source
alter table app.a
  add constraint a_code unique (code) deferrable initially deferred,
  add constraint a_pair unique (n, m) include (code) with (fillfactor = 55),
  add constraint "a; during" exclude using gist (during with &&) where (n > 0) deferrable,
  add constraint a_circle exclude (m with =),
  add constraint a_check check (n > 0 and code <> ''),
  add constraint a_old check (m >= 0) not valid;
comment on constraint "a; during" on app.a is 'no overlaps';
comment on index app.a_code is 'of a deferrable constraint';
alter table app.a cluster on a_pair;
create unique index a_late on app.a (code, id);
alter table app.a alter column code set not null;
alter table app.a replica identity using index a_late;
delete from app.a where id > 9;
