import { templateDatabase } from '@multiboard-sync/shared/testing/test-database'
import type { TestDatabase } from '@multiboard-sync/shared/testing/test-database'

/*
 * Two tables and their sequences. `Blob` does not compress, so that its archive takes a multipart upload of several parts
 * (8 MiB each), and is long enough for a job to be met in the middle.
 */

const TABLES = `
create table public."Component" (id bigserial primary key, name text not null, price numeric);
create table public."Blob" (
  id bigint generated always as identity primary key,
  component bigint references public."Component",
  content text not null
);
create index on public."Blob" (component);`

/** Base64 of MD5 sums: 6 bits of chance in each letter, so gzip takes a quarter off at most. */
const fill = (seed: string, components: number, blobs: number): string => `
insert into public."Component" (name, price) select '${seed} ' || n, n * 1.5 from generate_series(1, ${components}) n;
insert into public."Blob" (component, content)
select 1 + n % ${components}, 'row-' || n || '-of-${seed} ' || (
  select string_agg(encode(decode(md5('${seed}' || n || ' ' || i), 'hex'), 'base64'), '') from generate_series(1, 56) i
) from generate_series(1, ${blobs}) n;`

const BLOBS = 8_800

async function build(key: string, sql: string): Promise<string> {
  return await templateDatabase(key, async (database: TestDatabase) => {
    const client = await database.client()
    await client.query(`${TABLES}${sql}; analyze`)
    await client.end()
  })
}

/** Templates for createDatabase: a source, and a target that has the tables, with other rows in them. */
export async function blobTemplates(): Promise<{ source: string; target: string }> {
  return {
    source: await build('road-blobs', fill('new', 500, BLOBS)),
    target: await build('road-blobs-old', fill('old', 300, BLOBS)),
  }
}
