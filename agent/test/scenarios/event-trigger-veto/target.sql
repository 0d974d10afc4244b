-- as the source
update public.a set note = 'old';
create function public.veto() returns event_trigger language plpgsql as $$ begin raise exception 'no tables are made here'; end $$;
create event trigger veto on ddl_command_start when tag in ('CREATE TABLE', 'ALTER TABLE') execute function public.veto();
