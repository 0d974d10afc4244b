do $$ begin
  for n in 1..30 loop
    execute format('create table public.t%s (id serial primary key, n int, note text); create index on public.t%1$s (note)', n);
    execute format('insert into public.t%s (n, note) values (%1$s, ''new'')', n);
    if n > 1 then execute format('alter table public.t%s add foreign key (n) references public.t%s deferrable initially deferred not valid', n, n - 1); end if;
  end loop;
end $$;
