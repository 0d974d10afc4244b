import pg from 'pg'

/*
 * What the search benchmark indexes: a table of parts whose documents have twelve fields beside the id and some 380 bytes,
 * three of them facets. It is made inside PostgreSQL.
 */

const tableSql = `
  create table public."Component" (
    id text not null,
    name text not null,
    slug text not null,
    description text,
    category text not null,
    status text not null,
    tags text[] not null,
    price numeric(12, 2),
    rating double precision,
    downloads integer not null,
    revision bigint not null,
    "isRemix" boolean not null,
    "createdAt" timestamptz(3) not null
  )`

const rowsSql = `
  insert into public."Component"
  select 'c' || substr(d, 1, 24),
         (array['Multibin', 'Wall tile', 'Peg clip', 'Schraubenhalter', 'Étagère', '工具掛け', 'Drawer "XL"', 'Cable guide'])[1 + n % 8]
           || ' ' || 1 + n % 12 || '×' || 1 + n / 12 % 12 || ' v' || n % 7,
         'part-' || n || '-' || substr(d, 1, 8),
         case when n % 23 > 0 then
           (array['Fits the 25 mm grid. ', E'Print flat side down;\\tno supports. ', 'Für Schrauben bis M4. ', E'Line one\\nline two '])[1 + n % 4]
             || 'Holds up to ' || n % 900 || ' g, tested at ' || 15 + n % 30 || ' °C; batch ' || d end,
         'Category ' || 1 + n % 40,
         (array['PUBLISHED', 'DRAFT', 'IN_REVIEW', 'ARCHIVED'])[1 + n % 4],
         array['tag ' || n % 50, (array['wall', 'desk', 'grid'])[1 + n % 3]],
         case when n % 17 > 0 then (n % 100000)::numeric / 100 end,
         case when n % 10 > 0 then n % 500 / 100.0 end,
         n % 1000000, n, n % 5 = 0,
         timestamptz '2023-01-01 00:00:00.123+00' + n * interval '37 seconds'
  from generate_series($1::bigint, $2::bigint) as n, md5(n::text) as d`

/** In each round other rows. As many are deleted as made. */
const changesSql = (round: number): string => `
  update public."Component" set price = coalesce(price, 0) + 1, description = concat('Changed. ', description)
  where revision % 200 = ${2 * round};
  delete from public."Component" where revision % 400 = ${2 * round + 1};
  insert into public."Component"
  select ${round} || id, name, slug, description, category, status, tags, price, rating, downloads, -revision, "isRemix", "createdAt"
  from public."Component" where revision % 400 = ${399 - 2 * round};
  analyze public."Component"`

/** Some 40 MB of rows at a time: progress shows. */
const rowsPerStatement = 100_000

/** As the alias of a real server's collections, too: nobody else's may bear this name. */
export const ALIAS = 'multiboard_sync_bench'

/** agent.yaml's own words for these documents. */
export const mappingYaml = `
    from: public."Component"
    fields:
      - { name: name, type: string, infix: false }
      - { name: slug, type: string }
      - { name: description, type: string, optional: true }
      - { name: category, type: string, facet: true }
      - { name: status, type: string, facet: true }
      - { name: tags, type: 'string[]', facet: true }
      - { name: price, type: float, optional: true, approximate: true }
      - { name: rating, type: float, optional: true, approximate: true }
      - { name: downloads, type: int32 }
      - { name: revision, type: int64 }
      - { name: isRemix, type: bool }
      - { name: createdAt, type: int64, as: epoch_ms }`

/** Makes the table in an empty database. */
export async function makeDocuments(url: string, documents: number, onProgress: (done: number) => void): Promise<void> {
  await using session = await connect(url)
  const { client } = session
  await client.query(tableSql)
  for (let first = 1; first <= documents; first += rowsPerStatement) {
    const last = Math.min(documents, first + rowsPerStatement - 1)
    await client.query(rowsSql, [first, last])
    onProgress(last)
  }
  await client.query('alter table public."Component" add constraint "Component_pkey" primary key (id)')
  await client.query('vacuum analyze public."Component"')
}

/** Changes one per cent of the documents: half of it updates, a quarter each deletes and inserts. */
export async function changeDocuments(url: string, round: number): Promise<void> {
  await using session = await connect(url)
  await session.client.query(changesSql(round))
}

async function connect(url: string) {
  const client = new pg.Client({ connectionString: url, application_name: 'bench-search' })
  await client.connect()
  return { client, [Symbol.asyncDispose]: async () => await client.end() }
}
