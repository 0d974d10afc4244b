import type { Engine } from '@multiboard-sync/shared/job'
import { SyncError } from '@multiboard-sync/shared/sync-error'
import { formatTableName, type TableName } from '@multiboard-sync/shared/table-pattern'
import { readFingerprintLines } from '../postgres/fingerprint.ts'
import type { Target } from '../postgres/open-target.ts'
import type { Session } from '../postgres/session.ts'
import { readSnapshotMark } from '../postgres/snapshot-gate.ts'
import { differentFacts } from './different-facts.ts'
import type { Restored, RestoreRun } from './load.ts'
import type { FoundAside } from './stage/aside.ts'
import { afterSwap } from './swap/after-swap.ts'
import { exchange } from './swap/exchange.ts'
import { listPrevious } from './swap/previous.ts'

/*
 * Undo: the tables that a swap has replaced become the live ones again, in seconds at any size, by the same exchange. What
 * depends on the tables is read from the live ones as they are now. What was live is kept as the undo's own previous
 * tables, so that an undo can be undone.
 */

/** A job whose change can be taken back. */
export interface Undoable {
  job: string
  engine: Engine
  /** The tables that it replaced; absent when they are gone, or were never kept: then only the safety backup is left. */
  previous: FoundAside | undefined
  /** The archive that holds what stood there before; absent when there was none. */
  safetyBackup: string | undefined
  /** The archive that the previous tables are named after in the undo's receipt. */
  archive: string
  snapshotMark: string | undefined
}

interface ReceiptRow {
  engine: Engine
  archive: string
  safetyBackup: string | null
  mark: string | null
  undoneBy: string | null
  at: string
}

/**
 * What a job has left for its undo. For the plan, and again right before the undo. Throws `nothing-to-undo` when the job
 * has no receipt here, was undone already, or a later swap has replaced the same tables (that one comes first).
 */
export async function findUndoable(session: Session, job: string): Promise<Undoable> {
  const row = await readRow(session, job)
  const asides = await listPrevious(session)
  const previous = asides.find((aside) => aside.job === job)
  if (row === undefined) {
    throw new SyncError('nothing-to-undo', `Job ${job} has changed nothing here.`, {
      hint: 'Look at the list of jobs: only one that succeeded on this target can be undone.',
    })
  }
  if (previous === undefined && row.undoneBy !== null) {
    throw new SyncError('nothing-to-undo', `Job ${job} was undone already, by job ${row.undoneBy}.`, {
      hint: `Undo job ${row.undoneBy} to bring its tables back.`,
    })
  }
  const later = previous && (await findLater(session, previous, asides))
  if (later !== undefined) {
    throw new SyncError('nothing-to-undo', `Job ${later} has replaced some of these tables since.`, {
      hint: `Undo job ${later} first.`,
    })
  }
  return {
    job,
    engine: row.engine,
    previous,
    safetyBackup: row.safetyBackup ?? undefined,
    archive: row.archive,
    snapshotMark: row.mark ?? undefined,
  }
}

async function readRow(session: Session, job: string): Promise<ReceiptRow | undefined> {
  const [there] = await session.query<{ there: boolean }>(
    `select exists (select from pg_catalog.pg_attribute
                    where attrelid = to_regclass('multiboard_sync.receipts') and attname = 'table_names') as there`,
  )
  if (!there?.there) return undefined
  const [row] = await session.query<ReceiptRow>(
    `select r.engine, coalesce(r.safety_backup, o.archive, r.archive) as archive, r.safety_backup as "safetyBackup",
            r.snapshot_mark as mark, r.committed_at::text as at,
            (select u.job from multiboard_sync.receipts u where u.undoes = r.job order by u.committed_at desc limit 1)
              as "undoneBy"
     from multiboard_sync.receipts r
     left join multiboard_sync.receipts o on o.job = r.undoes
     where r.job = $1`,
    [job],
  )
  return row
}

/**
 * A later job, itself no undo, that has changed some of the same tables: a swap that has kept them, or one in place, whose
 * rows would go with the tables.
 */
async function findLater(session: Session, previous: FoundAside, asides: FoundAside[]): Promise<string | undefined> {
  const names = new Set(previous.tables.map(formatTableName))
  const others = asides.filter(
    ({ job, tables }) => job !== previous.job && tables.some((table) => names.has(formatTableName(table))),
  )
  const [row] = await session.query<{ job: string }>(
    `select l.job from multiboard_sync.receipts l
     join multiboard_sync.receipts r on r.job = $1 and l.committed_at > r.committed_at
     where l.undoes is null and (l.job = any ($2) or l.engine <> 'swap' and l.table_names && $3::text[])
     order by l.committed_at desc limit 1`,
    [previous.job, others.map(({ job }) => job), [...names]],
  )
  return row?.job
}

interface Undo {
  /** With `previous`. */
  undoable: Undoable
  /** The undo's own job. */
  job: string
  epoch: number
  fence: number | undefined
  lockAttempts: number
}

/**
 * Swaps the previous tables back. Throws as exchange() does; `schema-changed` names what was made, dropped or altered since:
 * tables of another shape are never swapped in.
 */
export async function undo(target: Target, change: Undo, run: RestoreRun): Promise<Restored> {
  const { session } = target
  const { undoable, job, epoch, fence, lockAttempts } = change
  const { previous, archive } = undoable
  if (previous === undefined) {
    throw new SyncError('nothing-to-undo', `The tables that job ${undoable.job} has replaced are not kept any more.`, {
      hint: 'Restore its safety backup instead.',
    })
  }
  await refuseOtherShapes(session, previous)
  const tables = await readLeaves(session, previous)
  // Keys that it leaves unvalidated when it dies are looked after at the next boot, as those of a swap are.
  await run.journal.record('staging', { target: target.database.name })
  const exchanged = await exchange(
    target,
    {
      job,
      epoch,
      fence,
      tables,
      archive,
      lockAttempts,
      incoming: previous,
      fingerprint: undefined,
      // The previous tables' rows are older than that swap, and no snapshot older than its mark outlived it.
      snapshotMark: undoable.snapshotMark ?? (await readSnapshotMark(session)),
      safetyBackup: undefined,
      rows: tables.reduce((sum, { rows }) => sum + rows, 0),
      undoes: undoable.job,
      writesBefore: undefined,
      raise: [],
    },
    run,
  )
  await afterSwap(target, exchanged, run)
  return { receipt: exchanged.receipt, proof: [], kept: { lateWrites: exchanged.lateWrites } }
}

/** The kept tables that hold rows themselves, under their live names, with the planner's estimate of their rows. */
async function readLeaves(session: Session, previous: FoundAside): Promise<(TableName & { rows: number })[]> {
  const sourceOf = new Map([...previous.schemas].map(([schema, aside]) => [aside, schema]))
  const rows = await session.query<{ aside: string; name: string; rows: number }>(
    `select n.nspname::text as aside, c.relname::text as name, greatest(c.reltuples, 0)::float8 as rows
     from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace
     where c.relkind = 'r' and n.nspname = any ($1)
     order by 1, 2`,
    [[...previous.schemas.values()]],
  )
  return rows.map(({ aside, name, rows: estimate }) => ({ schema: sourceOf.get(aside) ?? '', name, rows: estimate }))
}

/** Compares every definition of the kept relations with that of the live ones of the same names; keys come later. */
async function refuseOtherShapes(session: Session, previous: FoundAside): Promise<void> {
  const [names, quoted] = [[...previous.schemas.keys()], [...previous.schemas.values()]]
  const relations = await session.query<TableName>(
    `select t.schema, c.relname::text as name
     from unnest($1::text[], $2::text[]) as t (schema, aside)
     join pg_catalog.pg_namespace n on n.nspname = t.aside
     join pg_catalog.pg_class c on c.relnamespace = n.oid and c.relkind in ('r', 'p', 'v', 'm')`,
    [names, quoted],
  )
  const live = await readFingerprintLines(session, { keys: 'none', within: { schemas: names, relations } })
  const kept = await readFingerprintLines(session, { keys: 'none', within: { schemas: quoted } })
  const rename = await renamer(session, previous)
  const differences = differentFacts(live.map(undouble), kept.map(rename).map(undouble))
  if (differences.length === 0) return
  throw new SyncError('schema-changed', 'The live tables were altered since the job that would be undone.', {
    hint: 'Nothing was changed. Take the alteration back, or restore the safety backup.',
    details: differences,
  })
}

/** Writes the live schema where a fact names its schema aside: as a value of its own, or quoted within a definition. */
async function renamer(session: Session, previous: FoundAside): Promise<(line: string) => string> {
  const idents = await session.query<{ aside: string; schema: string; ident: string }>(
    `select aside, schema, quote_ident(schema) as ident from unnest($1::text[], $2::text[]) as t (aside, schema)`,
    [[...previous.schemas.values()], [...previous.schemas.keys()]],
  )
  return (line) =>
    idents.reduce(
      (text, { aside, schema, ident }) =>
        text
          // As functions, because a dollar sign in a text that replaces means something else.
          .replaceAll(JSON.stringify(aside), () => JSON.stringify(schema))
          .replaceAll(`${aside}.`, () => `${JSON.stringify(ident).slice(1, -1)}.`),
      line,
    )
}

/** A schema's name with an apostrophe is doubled within a literal. */
function undouble(line: string): string {
  return line.replaceAll(`''`, `'`)
}
