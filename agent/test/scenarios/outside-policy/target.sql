-- as the source
create schema outside;
create table outside.secret (id int primary key, word text);
insert into outside.secret select n, 'word ' || n from generate_series(1, 9) n;
alter table outside.secret enable row level security;
create policy allowed on outside.secret for select to scenario_reader using (id in (select a.id from app.allowed a));
create policy writes on outside.secret as restrictive for insert to scenario_reader with check (exists (select from app.allowed where allowed.id = secret.id and note = 'new'));
create policy changes on outside.secret for update using (id = (select max(id) from app.allowed)) with check (true);
comment on policy allowed on outside.secret is 'reads what may flow';
create table outside.written (what text);
create rule keeps as on insert to outside.written where new.what in (select note from app.allowed) do instead nothing;
create rule logs as on delete to outside.written do also insert into app.allowed select 100 + count(*), 'by rule' from app.allowed;
create rule off as on update to outside.written do also delete from app.allowed;
alter table outside.written disable rule off;
comment on rule keeps on outside.written is 'a rule outside';
grant usage on schema outside, app to scenario_reader;
grant select on outside.secret, app.allowed to scenario_reader;
update app.allowed set id = id + 5, note = 'old';
