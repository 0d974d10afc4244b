import { SyncError } from '@multiboard-sync/shared/sync-error'
import type { Session } from '../postgres/session.ts'
import type { SwapSet } from '../postgres/swap-set/swap-set.ts'

/** Relations that a change takes locks on, and whether readers of them are in its way too. */
export interface LockNeed {
  oids: number[]
  excludesReaders: boolean
}

/**
 * A prepared transaction keeps its locks until somebody ends it, through restarts too: waiting for it is useless.
 * Throws `unsupported-object` with each of them.
 */
export async function checkPrepared(session: Session, { oids, excludesReaders }: LockNeed): Promise<void> {
  // A prepared transaction's locks have no pid; the one on its own number says which it is.
  const rows = await session.query<{ gid: string; name: string }>(
    `select distinct x.gid, format('%I.%I', n.nspname, c.relname) as name
     from pg_catalog.pg_prepared_xacts x
     join pg_catalog.pg_locks t on t.locktype = 'transactionid' and t.transactionid = x.transaction and t.pid is null
     join pg_catalog.pg_locks l on l.virtualtransaction = t.virtualtransaction and l.pid is null
       and l.locktype = 'relation'
     join pg_catalog.pg_class c on c.oid = l.relation
     join pg_catalog.pg_namespace n on n.oid = c.relnamespace
     where x.database = current_database() and l.relation = any ($1::oid[])
       and ($2 or l.mode not in ('AccessShareLock', 'RowShareLock'))
     order by 1, 2`,
    [oids, excludesReaders],
  )
  if (rows.length === 0) return
  throw new SyncError('unsupported-object', 'A prepared transaction holds locks on what this job changes.', {
    hint: 'End it with commit prepared or rollback prepared, as its owner; then start the job again.',
    details: rows.map(({ gid, name }) => `prepared transaction "${gid}" holds a lock on ${name}`),
  })
}

/**
 * Locks that a swap of a database of so many tables holds at its busiest moment: moving both generations, dropping one of
 * them with all it has, or reading the safety backup.
 */
export async function checkSwapLocks(session: Session, set: SwapSet, tables: number): Promise<void> {
  const [row] = await session.query<{ sequences: string; others: string }>(
    `select (select count(*) from pg_catalog.pg_depend d
              join pg_catalog.pg_class s on s.oid = d.objid and s.relkind = 'S'
              where d.classid = 'pg_class'::regclass and d.refclassid = 'pg_class'::regclass
                and d.refobjid = any ($1::oid[]) and d.deptype in ('a', 'i')) as sequences,
            (select count(*) from pg_catalog.pg_index x where x.indrelid = any ($1::oid[]))
              + 2 * (select count(*) from pg_catalog.pg_class c
                     where c.oid = any ($1::oid[]) and c.reltoastrelid <> 0) as others`,
    [set.members.map(({ oid }) => oid)],
  )
  const moved = set.members.length + Number(row?.sequences ?? 0)
  const outside = set.remade.length + set.keys.filter(({ side }) => side !== 'inner').length
  await checkLockTable(session, Math.max(2 * moved + outside, moved + Number(row?.others ?? 0), sourceLocks(tables)))
}

/** Locks of a job that reads from a database of so many tables. */
export async function checkSourceLocks(session: Session, tables: number): Promise<void> {
  await checkLockTable(session, sourceLocks(tables))
}

/**
 * Every table of the database is locked by the two sessions that hold its snapshot, and by pg_dump. One object is one entry;
 * of holders the server has room for twice as many.
 */
function sourceLocks(tables: number): number {
  return Math.ceil(tables * (HOLDERS / 2))
}

const HOLDERS = 3

/** Throws `unsupported-object` when the server's lock table has no room for so many beside those that others hold now. */
export async function checkLockTable(session: Session, needed: number): Promise<void> {
  // PostgreSQL docs, "Lock Management": the shared lock table holds max_locks_per_transaction × (connections + prepared).
  const [row] = await session.query<{ slots: string; each: string; used: string }>(
    `select each, each * (current_setting('max_connections')::bigint
         + current_setting('max_prepared_transactions')::bigint) as slots,
       (select count(*) from (
          select distinct l.locktype, l.database, l.relation, l.page, l.tuple, l.virtualxid, l.transactionid::text,
                 l.classid, l.objid, l.objsubid
          from pg_catalog.pg_locks l where not l.fastpath and l.pid is distinct from pg_backend_pid()) l) as used
     from (select current_setting('max_locks_per_transaction')::bigint as each) s`,
  )
  if (!row) return
  const [slots, each, used] = [Number(row.slots), Number(row.each), Number(row.used)]
  if (needed + used <= slots) return
  const raised = Math.ceil(((needed + used) / slots) * each)
  throw new SyncError(
    'unsupported-object',
    `One transaction needs about ${needed} locks; the lock table of "${session.database}" has ${slots}, ${used} of them in use.`,
    {
      hint: `Nothing was changed. Raise max_locks_per_transaction on its server to ${raised} or more (it is ${each}), and restart it.`,
    },
  )
}
