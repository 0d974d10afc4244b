import type { Engine } from '@multiboard-sync/shared/job'
import type { Receipt } from '@multiboard-sync/shared/protocol'
import { SyncError } from '@multiboard-sync/shared/sync-error'
import { formatTableName, type TableName } from '@multiboard-sync/shared/table-pattern'
import type { Session } from '../postgres/session.ts'

/*
 * Fence and receipts live in the target, in the schema multiboard_sync, written in the same transaction as the rows:
 * the target itself is the judge of what happened. A job without a receipt changed nothing.
 */

const SCHEMA_SQL = `
create schema if not exists multiboard_sync;
revoke all on schema multiboard_sync from public;
create table if not exists multiboard_sync.fence (
  target text primary key,
  fence bigint not null
);
create table if not exists multiboard_sync.receipts (
  job text primary key,
  epoch bigint not null,
  fence bigint not null,
  archive text not null,
  safety_backup text,
  engine text not null,
  tables integer not null,
  row_count bigint not null,
  committed_at timestamptz not null default clock_timestamp()
);
alter table multiboard_sync.receipts add column if not exists undoes text;
alter table multiboard_sync.receipts add column if not exists snapshot_mark text;
alter table multiboard_sync.receipts add column if not exists table_names text[];
create table if not exists multiboard_sync.to_validate (
  schema_name text not null,
  table_name text not null,
  constraint_name text not null,
  job text not null,
  primary key (schema_name, table_name, constraint_name)
);`

/** Whether all of it is there, also where an earlier version has made it. */
const IS_WHOLE_SQL = `
select to_regclass('multiboard_sync.fence') is not null
   and to_regclass('multiboard_sync.to_validate') is not null
   and 3 = (select count(*) from pg_catalog.pg_attribute
            where attrelid = to_regclass('multiboard_sync.receipts')
              and attname in ('undoes', 'snapshot_mark', 'table_names')) as whole`

/** An older agent's number is smaller: then no row comes back. Equal passes, so that a local run needs no number. */
const FENCE_SQL = `
insert into multiboard_sync.fence as f (target, fence) values ($1, $2)
on conflict (target) do update set fence = excluded.fence where f.fence <= excluded.fence
returning fence`

export interface ReceiptFacts {
  job: string
  epoch: number
  /** Absent for a local run: it takes the number that is there. */
  fence: number | undefined
  target: string
  archive: string
  safetyBackup: string | undefined
  engine: Engine
  tables: number
  /** Those tables: an undo of an older job asks whether a later one has changed the same. */
  names: TableName[]
  rows: number
  /** The job whose change is taken back by this one. */
  undoes?: string | undefined
  /** Of a swap: no snapshot older than this may read the new tables (readSnapshotMark). */
  snapshotMark?: string | undefined
}

/**
 * Inside the restore's transaction, first: makes the schema where it lacks, takes the fence, and refuses a job that
 * already has its receipt. Returns the fence's number. Throws `fence-superseded`, `already-done`.
 */
export async function takeFence(
  session: Session,
  facts: Pick<ReceiptFacts, 'job' | 'fence' | 'target'>,
): Promise<number> {
  const [found] = await session.query<{ whole: boolean }>(IS_WHOLE_SQL)
  // Only where it lacks: even CREATE SCHEMA IF NOT EXISTS asks for the right to create.
  if (!found?.whole) await session.run(SCHEMA_SQL)
  const done = await session.query('select 1 from multiboard_sync.receipts where job = $1', [facts.job])
  if (done.length > 0) {
    throw new SyncError('already-done', 'This job has already changed its target once.', {
      hint: 'Ask for a new job if you want the change again.',
    })
  }
  const fence = facts.fence ?? (await readFence(session, facts.target))
  const taken = await session.query(FENCE_SQL, [facts.target, fence])
  if (taken.length > 0) return fence
  throw new SyncError('fence-superseded', 'A newer job has worked on this target since this one was ordered.', {
    hint: 'Nothing was changed by this job. Look at the newer one.',
  })
}

async function readFence(session: Session, target: string): Promise<number> {
  const [row] = await session.query<{ fence: string }>('select fence from multiboard_sync.fence where target = $1', [
    target,
  ])
  return Number(row?.fence ?? 0)
}

/** Inside the restore's transaction, last: the row that proves the job. Throws `proof-failed` when it is not there. */
export async function writeReceipt(session: Session, facts: ReceiptFacts & { fence: number }): Promise<void> {
  const written = await session.query(
    `insert into multiboard_sync.receipts (job, epoch, fence, archive, safety_backup, engine, tables, row_count,
                                           undoes, snapshot_mark, table_names)
     values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)
     returning job`,
    [
      facts.job,
      facts.epoch,
      facts.fence,
      facts.archive,
      facts.safetyBackup,
      facts.engine,
      facts.tables,
      facts.rows,
      facts.undoes,
      facts.snapshotMark,
      facts.names.map(formatTableName),
    ],
  )
  if (written.length === 1) return
  throw new SyncError('proof-failed', "The target did not keep the job's receipt.", {
    hint: 'Everything was rolled back. Look for triggers, rules and row security on multiboard_sync.receipts.',
  })
}

/** The receipt of a job, or undefined when it changed nothing here. For a new session, outside any transaction. */
export async function readReceipt(session: Session, job: string): Promise<Receipt | undefined> {
  const [there] = await session.query<{ there: boolean }>(
    `select to_regclass('multiboard_sync.receipts') is not null as there`,
  )
  if (!there?.there) return undefined
  const [row] = await session.query<{ epoch: string; fence: string; archive: string; engine: Engine; at: Date }>(
    `select epoch, fence, archive, engine, committed_at as at from multiboard_sync.receipts where job = $1`,
    [job],
  )
  if (!row) return undefined
  const { archive, engine } = row
  return {
    job,
    epoch: Number(row.epoch),
    fence: Number(row.fence),
    archive,
    engine,
    committed_at: row.at.toISOString(),
  }
}
