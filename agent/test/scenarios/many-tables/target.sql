-- as the source
do $$ begin for n in 1..30 loop execute format('update public.t%s set note = ''old''', n); end loop; end $$;
create function public.seen() returns event_trigger language plpgsql as $$ begin perform count(*) from pg_event_trigger_ddl_commands(); end $$;
create function public.dropped() returns event_trigger language plpgsql as $$ begin perform count(*) from pg_event_trigger_dropped_objects(); end $$;
create event trigger seen on ddl_command_end execute function public.seen();
create event trigger dropped on sql_drop execute function public.dropped();
alter event trigger dropped enable always;
comment on event trigger seen is 'watches';
