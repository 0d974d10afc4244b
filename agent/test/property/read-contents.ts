import pg from 'pg'

/** What a database holds. Two of these are compared with toEqual, so that a difference has a name. */
export interface Contents {
  /** By table: rows and an MD5 over them, whatever the order of their columns. */
  tables: Record<string, string>
  /** By populated materialised view: what it holds, and what its query answers its owner now, whom policies may filter. */
  matviews: Record<string, { holds: string; answers: string }>
  /** By sequence its value; `owner` is the table that it belongs to. */
  sequences: Record<string, { value: string; owner: string | null }>
  /** Our own schemas, but the one of fence and receipts. */
  asides: string[]
}

interface Relation {
  name: string
  kind: string
  sql: string | null
  role: string
  owner: string | null
}

export async function readContents(url: string): Promise<Contents> {
  const client = new pg.Client({ connectionString: url })
  await client.connect()
  try {
    const { rows: relations } = await client.query<Relation>(RELATIONS_SQL)
    const contents: Contents = { tables: {}, matviews: {}, sequences: {}, asides: [] }
    for (const { name, kind, sql, role, owner } of relations) {
      const rows = async (from: string): Promise<string> =>
        await one(
          client,
          `select count(*) || ' ' || coalesce(md5(string_agg(to_jsonb(t)::text, E'\\n' order by to_jsonb(t)::text collate "C")), '') from ${from} t`,
        )
      if (kind === 'S') {
        contents.sequences[name] = {
          value: await one(client, `select last_value || ' ' || is_called from ${name}`),
          owner,
        }
      } else if (kind === 'm') {
        const holds = await rows(name)
        await client.query(`set role ${role}`)
        contents.matviews[name] = { holds, answers: await rows(`(${sql})`) }
        await client.query('reset role')
      } else contents.tables[name] = await rows(`only ${name}`)
    }
    const { rows: asides } = await client.query<{ name: string }>(
      `select nspname::text as name from pg_namespace where nspname like 'multiboard\\_sync\\_%' order by 1`,
    )
    contents.asides = asides.map(({ name }) => name)
    return contents
  } finally {
    await client.end()
  }
}

const RELATIONS_SQL = `
select format('%I.%I', n.nspname, c.relname) as name, c.relkind::text as kind, quote_ident(pg_get_userbyid(c.relowner)) as role,
  case when c.relkind = 'm' then rtrim(pg_get_viewdef(c.oid), '; ') end as sql,
  (select format('%I.%I', tn.nspname, t.relname) from pg_depend d
   join pg_class t on t.oid = d.refobjid join pg_namespace tn on tn.oid = t.relnamespace
   where d.classid = 'pg_class'::regclass and d.objid = c.oid and d.deptype in ('a', 'i')
     and d.refclassid = 'pg_class'::regclass and c.relkind = 'S') as owner
from pg_class c join pg_namespace n on n.oid = c.relnamespace
where c.relkind in ('r', 'm', 'S') and c.relispopulated and n.nspname !~ '^(pg_|information_schema|multiboard_sync)'
order by 1`

async function one(client: pg.Client, sql: string): Promise<string> {
  const { rows } = await client.query<unknown[]>({ text: sql, rowMode: 'array' })
  return String(rows[0]?.[0])
}
