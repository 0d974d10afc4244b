import { templateDatabase, type TestDatabase } from '@multiboard-sync/shared/testing/test-database'

/*
 * A little of everything that a swap has to carry, small enough to be made anew for each point: two tables in the job,
 * and around them what must come out as it was. `Component` and `Part` are replaced; `Maker` (which they refer to), `Line`
 * (which refers to them) and `Log` (which a trigger would write to) are outside.
 */

export const IN_THE_JOB = ['public.Component', 'public.Part']
/** Every table but the big one. */
export const SMALL = [...IN_THE_JOB, 'public.Maker', 'public.Line', 'public.Log']

const TABLES = `
create table public."Maker" (id bigint primary key, name text not null);
create table public."Component" (
  id bigserial primary key, name text not null, price numeric, maker bigint references public."Maker"
);
create unique index "Component_name" on public."Component" (name);
create table public."Part" (
  id bigint generated always as identity primary key,
  component bigint references public."Component" on delete cascade,
  note text
);
create index on public."Part" (component);
create table public."Line" (id bigint primary key, component bigint references public."Component", amount integer);
create table public."Log" (id bigserial primary key, at text, what text);
create table public."Blob" (id bigint primary key, content text not null);
create view public."Prices" with (security_barrier) as select id, name, price from public."Component" where price > 0;
create materialized view public."Totals" as
  select c.id, count(p.id) as parts from public."Component" c left join public."Part" p on p.component = c.id group by c.id;
create unique index on public."Totals" (id);
create statistics public.component_names on name, price from public."Component";
create function public.note() returns trigger language plpgsql as $$ begin
  insert into public."Log" (at, what) values (tg_op, new.name); return new;
end $$;
create trigger note after insert or update on public."Component" for each row execute function public.note();
alter table public."Line" enable row level security;
create policy sold on public."Line" using (exists (select from public."Component" c where c.id = component));
comment on table public."Component" is 'what is sold';`

const fill = (seed: string, components: number): string => `
insert into public."Maker" select n, 'maker ' || n from generate_series(1, 10) n;
insert into public."Component" (name, price, maker)
  select '${seed} ' || n, n * 1.5, 1 + n % 10 from generate_series(1, ${components}) n;
insert into public."Part" (component, note)
  select 1 + n % ${components}, 'part-' || n || '-of-${seed}' from generate_series(1, ${components * 2}) n;
insert into public."Line" select n, n, n % 7 from generate_series(1, 50) n;
delete from public."Log";
insert into public."Log" (at, what) values ('made', '${seed}');
refresh materialized view public."Totals";`

/** Does not compress, and is just long enough for a multipart upload (5 MiB a part). */
const blobs = (seed: string): string => `
insert into public."Blob" select n, (
  select string_agg(encode(decode(md5('${seed}' || n || ' ' || i), 'hex'), 'base64'), '') from generate_series(1, 56) i
) from generate_series(1, 6000) n;`

async function build(key: string, sql: string): Promise<string> {
  return await templateDatabase(`crash matrix ${key}`, async (database: TestDatabase) => {
    const client = await database.client()
    await client.query(`${TABLES}${sql}; analyze`)
    await client.end()
  })
}

/** The same as shop.target, for a server of one's own. */
export const TARGET_SQL = `${TABLES}${fill('old', 90)}; analyze`

/** Templates for createDatabase. */
export const shop = {
  source: async () => await build('source', fill('new', 120) + blobs('new')),
  target: async () => await build('target', fill('old', 90)),
  /** With a safety backup that takes several parts. */
  bigTarget: async () => await build('big target', fill('old', 90) + blobs('old')),
  empty: async () => await templateDatabase('crash matrix empty', async () => await Promise.resolve()),
}
