-- as the source
create schema outside;
create table outside.audit (what text);
create function outside.note() returns trigger language plpgsql as $$ begin insert into outside.audit values (tg_name); return coalesce(new, old); end $$;
create function outside.refuse() returns trigger language plpgsql as $$ begin raise exception 'nobody writes here'; end $$;
update app.a set note = 'old';
create trigger row_note before insert or update or delete on app.a for each row execute function outside.note('it''s', 'x');
create trigger statement_note after insert or truncate on app.a for each statement execute function outside.note();
create trigger watched after update of note, n on app.a for each row when (old.note is distinct from new.note and new.n > 0) execute function outside.note();
create trigger tables after insert on app.a referencing new table as fresh for each statement execute function outside.note();
create trigger "Refuse; always" before insert on app.a for each row execute function outside.refuse();
create trigger refuse_disabled before insert on app.a for each row execute function outside.refuse();
create trigger refuse_replica before insert on app.a for each row execute function outside.refuse();
create constraint trigger late after insert on app.a deferrable initially deferred for each row when (new.id > 0) execute function outside.refuse();
create constraint trigger of_b after insert or delete on app.b from app.a not deferrable for each row execute function outside.refuse();
alter table app.a enable always trigger "Refuse; always", disable trigger refuse_disabled, enable replica trigger refuse_replica;
comment on trigger "Refuse; always" on app.a is 'always';
