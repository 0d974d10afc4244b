import type { TableName } from '@multiboard-sync/shared/table-pattern'
import { quoteIdent, quoteLiteral, quoteTable } from './quote.ts'
import type { Session } from './session.ts'

/*
 * Locks of a swap, all within one time limit.
 *
 * Promises: one statement, so that statement_timeout bounds the whole wait (lock_timeout bounds each lock by itself); views
 * before what they read, as a reader takes them; whoever gives way is we, as long as the limit is below the server's
 * deadlock_timeout: a `lock-timeout`, retryable, after which the transaction can only be rolled back. Never: waits longer,
 * changes anything, or locks what was not asked for but the children of a table.
 */

export interface LockedRelation extends TableName {
  owner: string
}

export interface Locks {
  /** Outermost first. */
  views: LockedRelation[]
  /** Outermost first. */
  materialized: LockedRelation[]
  tables: TableName[]
  forMs: number
}

/**
 * ACCESS EXCLUSIVE on all of them until the transaction ends. Views are locked by ALTER … OWNER TO the owner that they
 * have, which changes nothing and locks nothing else (LOCK TABLE on a view takes all its tables, too). Needs a transaction,
 * and membership in the views' owners: `permission-denied` otherwise. Event triggers fire for it.
 */
export async function lockRelations(session: Session, { views, materialized, tables, forMs }: Locks): Promise<void> {
  const alter = (what: string, relation: LockedRelation): string =>
    `alter ${what} ${quoteTable(relation)} owner to ${quoteIdent(relation.owner)}`
  await runWithin(session, forMs, [
    ...views.map((view) => alter('view', view)),
    ...materialized.map((view) => alter('materialized view', view)),
    ...lockTables(tables, 'access exclusive'),
  ])
}

/** SHARE ROW EXCLUSIVE until the transaction ends: readers go on, writers wait. For the last checks before a swap. */
export async function lockForCheck(session: Session, tables: TableName[], forMs: number): Promise<void> {
  await runWithin(session, forMs, lockTables(tables, 'share row exclusive'))
}

/**
 * SHARE UPDATE EXCLUSIVE until the transaction ends: neither readers nor writers wait, and no VACUUM begins. One that
 * autovacuum is at gives way to it after deadlock_timeout, which waiting for a stronger lock would cost everybody
 * (unless it runs against wraparound). Waits `deadlock_timeout` and a little more at most.
 */
export async function holdOffVacuum(session: Session, tables: TableName[]): Promise<void> {
  // pg_settings would write out every setting there is.
  const [row] = await session.query<{ ms: number }>(
    `select 1000 * extract(epoch from current_setting('deadlock_timeout')::interval)::float8 as ms`,
  )
  await runWithin(session, (row?.ms ?? defaultDeadlockMs) + cancelMs, lockTables(tables, 'share update exclusive'))
}

/** PostgreSQL's default. */
const defaultDeadlockMs = 1_000
/** What an autovacuum worker needs to end once it is told to. */
const cancelMs = 300

/** Whether autovacuum works on one of them; VACUUM by hand gives way to nobody and is not meant. */
export async function isBeingVacuumed(session: Session, oids: number[]): Promise<boolean> {
  const [row] = await session.query<{ vacuumed: boolean }>(
    // pg_stat_progress_vacuum hides the table from roles that may not look into others' sessions; locks are for all to see.
    `select exists (
       select from pg_catalog.pg_locks l join pg_catalog.pg_stat_activity a on a.pid = l.pid
       where l.locktype = 'relation' and l.granted and l.mode = 'ShareUpdateExclusiveLock'
         and l.database = (select oid from pg_catalog.pg_database where datname = pg_catalog.current_database())
         and l.relation = any ($1::oid[]) and a.usesysid is null
     ) as vacuumed`,
    [oids],
  )
  return row?.vacuumed ?? false
}

function lockTables(tables: TableName[], mode: string): string[] {
  return tables.length === 0 ? [] : [`lock table ${tables.map(quoteTable).join(', ')} in ${mode} mode`]
}

/**
 * An agent that is frozen, or whose host hangs, with these locks in its hand would keep everybody waiting: the server ends
 * its session. Many times what lies between two of our messages, whatever the network.
 */
const FROZEN_MS = 30_000

async function runWithin(session: Session, forMs: number, statements: string[]): Promise<void> {
  if (statements.length === 0) return
  // 0 would mean: for ever. In a message of many statements each has its own time; sessions have none.
  const limitMs = Math.max(1, Math.round(forMs))
  const body = `begin ${statements.map((sql) => `execute ${quoteLiteral(sql)};`).join('\n')} end`
  await session.run(`
    set local idle_in_transaction_session_timeout = ${FROZEN_MS};
    set local statement_timeout = ${limitMs};
    do ${quoteLiteral(body)};
    set local statement_timeout = 0`)
}
