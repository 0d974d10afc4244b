-- as the source
do $$ begin for n in 1..30 loop execute format('update public.t%s set note = ''old''', n); end loop; end $$;
