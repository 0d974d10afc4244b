import { readdir, readFile } from 'node:fs/promises'
import { SyncError } from '@multiboard-sync/shared/sync-error'
import type { Database } from './open-database.ts'

// Our own number among the advisory locks of this database.
const MIGRATION_LOCK = 7_305_101

/**
 * Brings the schema `multiboard` to this version: each file of `sql/` once, in the order of its number, all in one
 * transaction. Two processes that start together take turns. Answers the names of what was run.
 */
export async function migrate(database: Database): Promise<string[]> {
  const folder = new URL('./sql/', import.meta.url)
  const names = (await readdir(folder)).filter((name) => /^\d{4}_.+\.sql$/.test(name)).toSorted()
  return await database.transaction(async ({ query }) => {
    await query('select pg_advisory_xact_lock($1)', [MIGRATION_LOCK])
    await query('create schema if not exists multiboard')
    await query(
      'create table if not exists multiboard.migrations (name text primary key, at timestamptz not null default now())',
    )
    const done = new Set(
      (await query<{ name: string }>('select name from multiboard.migrations')).map(({ name }) => name),
    )
    const missing = names.filter((name) => !done.has(name))
    for (const name of missing) {
      const sql = await readFile(new URL(name, folder), 'utf8')
      // Without values it is a simple query, which may hold many statements.
      await query(sql)
      await query('insert into multiboard.migrations (name) values ($1)', [name])
    }
    return missing
  })
}

/** Of whatever `migrate` threw: what to look at. Names the error's code, never the URL. */
export function migrationFailed(cause: unknown): SyncError {
  const code = cause instanceof Error && 'code' in cause ? ` (${String(cause.code)})` : ''
  return new SyncError('database-unreachable', `The control plane's database cannot be used${code}.`, {
    hint: 'Check DATABASE_URL, that the server runs, and that the user may create a schema there.',
    cause,
  })
}
