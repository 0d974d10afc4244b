import { readDependencyLines } from '../../src/postgres/dependency-print.ts'
import { readFingerprintLines } from '../../src/postgres/fingerprint.ts'
import { openSession, type Session } from '../../src/postgres/session.ts'

/** All that must be as before or as after. Two of these are compared with toEqual, so that a difference has a name. */
export interface TargetState {
  /** The catalogue's fingerprint, line by line, and who depends on whom. */
  definitions: string[]
  dependencies: string[]
  /** By table and materialized view: the rows and an MD5 of their text; by sequence its value. */
  contents: Record<string, string>
}

/** What a job must not leave behind. */
export interface Remains {
  /** Our schemas, but the one of fence and receipts. */
  asides: string[]
  /** Foreign keys that nobody has validated yet. */
  toValidate: number
  /** The agent's sessions. */
  sessions: string[]
}

const DEADLINE_MS = 30_000

/**
 * `keys: 'unvalidated'`: what a committed swap leaves for a moment, keys that are still to be validated, is no difference.
 * Of a created copy owners and grants are its own.
 */
export async function readTarget(
  url: string,
  options: { keys?: 'all' | 'unvalidated'; owners?: boolean } = {},
): Promise<TargetState> {
  await using session = await look(url)
  return {
    definitions: await readFingerprintLines(session, { owners: true, ...options }),
    dependencies: await readDependencyLines(session),
    contents: await readContents(session),
  }
}

export async function readRemains(url: string): Promise<Remains> {
  await using session = await look(url)
  const [schemas] = await session.query<{ names: string[] }>(
    `select coalesce(array_agg(nspname::text order by nspname), '{}') as names from pg_catalog.pg_namespace
     where nspname like 'multiboard\\_sync\\_%'`,
  )
  const [there] = await session.query<{ there: boolean }>(
    `select to_regclass('multiboard_sync.to_validate') is not null as there`,
  )
  const [left] = there?.there
    ? await session.query<{ rows: number }>('select count(*)::float8 as rows from multiboard_sync.to_validate')
    : [{ rows: 0 }]
  const sessions = await session.query<{ name: string }>(
    `select application_name || ' ' || pid as name from pg_catalog.pg_stat_activity
     where datname = pg_catalog.current_database() and pid <> pg_catalog.pg_backend_pid()
       and application_name like 'multiboard-sync%' and application_name <> 'multiboard-sync looks'`,
  )
  return { asides: schemas?.names ?? [], toValidate: left?.rows ?? 0, sessions: sessions.map(({ name }) => name) }
}

async function look(url: string): Promise<Session> {
  const signal = AbortSignal.timeout(DEADLINE_MS)
  return await openSession({ name: 'looked-at', url, viaProxy: false }, { purpose: 'looks', signal })
}

async function readContents(session: Session): Promise<Record<string, string>> {
  const relations = await session.query<{ name: string; kind: string }>(
    `select format('%I.%I', n.nspname, c.relname) as name, c.relkind::text as kind
     from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace
     where c.relkind in ('r', 'm', 'S') and c.relispopulated and n.nspname !~ '^(pg_|information_schema|multiboard_sync)'
     order by 1`,
  )
  if (relations.length === 0) return {}
  const reads = relations.map(({ name, kind }) => {
    const label = `'${name.replaceAll("'", "''")}' as name`
    if (kind === 'S') return `select ${label}, last_value || ' ' || is_called as value from ${name}`
    return `select ${label}, count(*) || ' ' || coalesce(md5(string_agg(t::text, E'\\n' order by t::text collate "C")), '') as value
            from only ${name} t`
  })
  const rows = await session.query<{ name: string; value: string }>(reads.join(' union all '))
  return Object.fromEntries(rows.map(({ name, value }) => [name, value]))
}
