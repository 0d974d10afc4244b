import type { Mapping } from '@multiboard-sync/shared/mapping'
import { SyncError } from '@multiboard-sync/shared/sync-error'
import { quoteTable } from '../postgres/quote.ts'
import { openSession, type Session } from '../postgres/session.ts'
import type { CompiledMapping } from './compiled-mapping.ts'
import { compileMapping } from './mapping/compile-mapping.ts'
import type { ReindexRun } from './reindex-run.ts'
import { sumDocuments, type DocumentsSum } from './sum-documents.ts'

/*
 * One moment in the life of the rows, for everything that is said about them: their number, their documents, the sample that
 * is compared in the end.
 *
 * Promises: every table that the mapping's select reads, through whichever views, is locked in ACCESS SHARE mode before the
 * snapshot is taken, so that no swap and no TRUNCATE leaves it empty; the mapping is compiled under the same snapshot.
 * Never: writes a row, takes a lock that a writer would wait for, or waits longer than a minute for its own.
 */

/** Whoever holds a stronger lock is in the middle of a migration or a swap, and over with it soon. */
const LOCK_TIMEOUT_MS = 60_000
/** A migration between looking and locking makes us look again, this often at most. */
const ATTEMPTS = 3

/**
 * What a query adds up may depend on the order of the rows: floats do. A COPY may read in parallel and a cursor never does,
 * and a cursor is planned for its first rows: the same document would have other digits in each.
 */
const SAME_ORDER_SQL = 'set local max_parallel_workers_per_gather = 0; set local cursor_tuple_fraction = 1'

export interface OpenDocuments extends AsyncDisposable, DocumentsSum {
  /** In its snapshot, read only. Ends when its transaction does. */
  session: Session
  compiled: CompiledMapping
}

interface OpenOptions {
  /** Shown in pg_stat_activity. */
  purpose: string
  /** Before the transaction: temporary tables cannot be made in a read-only one, but filled. */
  prepare?: (session: Session) => Promise<void>
}

/** Throws `mapping-invalid`, `schema-changed`, `lock-timeout` and what the session throws. */
export async function openDocuments(
  run: Pick<ReindexRun, 'database' | 'signal'>,
  alias: string,
  mapping: Mapping,
  { purpose, prepare }: OpenOptions,
): Promise<OpenDocuments> {
  const session = await openSession(run.database, {
    purpose,
    signal: run.signal,
    readOnly: true,
    lockTimeoutMs: LOCK_TIMEOUT_MS,
  })
  try {
    await prepare?.(session)
    const compiled = await takeSnapshot(session, alias, mapping)
    if (!compiled.rows.uniqueId) await session.run(SAME_ORDER_SQL)
    const sum = await sumDocuments(session, compiled.documentsSql)
    return { session, compiled, ...sum, [Symbol.asyncDispose]: async () => await session.close() }
  } catch (error) {
    session.destroy()
    throw error
  }
}

async function takeSnapshot(session: Session, alias: string, mapping: Mapping): Promise<CompiledMapping> {
  for (let attempt = 1; attempt <= ATTEMPTS; attempt += 1) {
    const compileAndLook = async (): Promise<{ compiled: CompiledMapping; relations: Relation[] }> => {
      const compiled = await compileMapping(session, alias, mapping)
      return { compiled, relations: await relationsRead(session, compiled.documentsSql) }
    }
    await session.run('begin isolation level repeatable read read only')
    const { relations: before } = await compileAndLook()
    await session.run('rollback; begin isolation level repeatable read read only')
    // LOCK TABLE takes no snapshot: the first query after it does (PostgreSQL docs, LOCK, "Notes").
    if (before.length > 0) await session.run(`lock table ${before.map(quoteTable).join(', ')} in access share mode`)
    const { compiled, relations } = await compileAndLook()
    const locked = new Set(before.map(({ oid }) => oid))
    if (relations.every(({ oid }) => locked.has(oid))) return compiled
    await session.run('rollback')
  }
  throw new SyncError(
    'schema-changed',
    `What "${alias}" is made of keeps changing while its rows are about to be read.`,
    {
      hint: 'Start the job again when the migration is over.',
      retryable: true,
    },
  )
}

interface Relation {
  oid: string
  schema: string
  name: string
}

/**
 * Tables and views that a select reads, views first, as a reader takes them: planning locks them all. Without those that
 * only a view's owner may read: locking the view locks them. Materialized views and foreign tables cannot be locked.
 */
async function relationsRead(session: Session, sql: string): Promise<Relation[]> {
  await session.run(`explain (costs off) ${sql}`)
  return await session.query<Relation>(
    `select c.oid::text as oid, n.nspname as schema, c.relname as name
     from pg_catalog.pg_locks l
     join pg_catalog.pg_class c on c.oid = l.relation
     join pg_catalog.pg_namespace n on n.oid = c.relnamespace
     where l.locktype = 'relation'
       and l.pid = pg_catalog.pg_backend_pid()
       and l.database = (select oid from pg_catalog.pg_database where datname = pg_catalog.current_database())
       and c.relkind in ('r', 'p', 'v')
       and c.relpersistence <> 't'
       and n.nspname not in ('pg_catalog', 'information_schema', 'pg_toast')
       and pg_catalog.has_table_privilege(c.oid, 'select')
     group by c.oid, n.nspname, c.relname, c.relkind
     order by c.relkind = 'v' desc, c.oid`,
  )
}
