-- as the source
update public.a set note = 'old';
create subscription elsewhere connection 'host=127.0.0.1 port=1 dbname=none' publication none with (connect = false, slot_name = none);
