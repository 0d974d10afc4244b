import assert from 'node:assert/strict'
import { Readable } from 'node:stream'
import { text } from 'node:stream/consumers'
import { CHECKSUM_ALGORITHM, type ArchivedTable } from '@multiboard-sync/shared/manifest'
import { formatTableName } from '@multiboard-sync/shared/table-pattern'
import copyStreams from 'pg-copy-streams'
import type { OpenedArchive } from '../../src/archive/archive-reader.ts'
import { archiveFeed } from '../../src/feed/archive-feed.ts'
import type { Feed } from '../../src/feed/feed.ts'
import { allOf, openLanes, type Lanes } from '../../src/lanes/lanes.ts'
import { createTrace, type Trace } from '../../src/lanes/trace.ts'
import { copyColumns, readTables } from '../../src/postgres/catalog.ts'
import { readChecksum } from '../../src/postgres/checksum.ts'
import { readFingerprintLines } from '../../src/postgres/fingerprint.ts'
import { openTarget, type Target } from '../../src/postgres/open-target.ts'
import { quoteIdent, quoteTable } from '../../src/postgres/quote.ts'
import type { Session } from '../../src/postgres/session.ts'
import { readSwapSet } from '../../src/postgres/swap-set/read-swap-set.ts'
import { schemasOf, type SwapSet } from '../../src/postgres/swap-set/swap-set.ts'
import { createReporter, type ReportedEvent } from '../../src/report/reporter.ts'
import type { Found } from '../../src/restore/prove.ts'
import { asideOf, inAside, type Aside } from '../../src/restore/stage/aside.ts'
import { fillStage } from '../../src/restore/stage/fill-stage.ts'
import type { Staged } from '../../src/restore/stage/make-stage.ts'
import { prepareStage, type PreparedStage } from '../../src/restore/stage/prepare-stage.ts'
import { proveStage, type ToProve } from '../../src/restore/stage/prove-stage.ts'
import { stageDoor } from '../../src/restore/stage/stage-door.ts'

/* What a stage needs from the rest of the agent, without the rest of the agent. */

export const DEADLINE_MS = 50_000
export const deadline = (): AbortSignal => AbortSignal.timeout(DEADLINE_MS)

export async function open(url: string): Promise<Target> {
  return await openTarget({ name: 'staging', url, viaProxy: false }, deadline())
}

export interface Told {
  events: ReportedEvent[]
  run: { connections: number; lockAttempts: number; reporter: ReturnType<typeof createReporter>; signal: AbortSignal }
}

export function telling(lockAttempts = 3): Told {
  const events: ReportedEvent[] = []
  const reporter = createReporter([
    { phase: () => undefined, event: (event) => events.push(event), progress: () => undefined },
  ])
  return { events, run: { connections: 3, lockAttempts, reporter, signal: deadline() } }
}

/** The set of all tables but those given, as it is at this moment. */
export async function setOf(session: Session, outside: string[] = []): Promise<SwapSet> {
  const tables = (await readTables(session)).filter((table) => !outside.includes(formatTableName(table)))
  const set = await readSwapSet(
    session,
    tables.filter(({ kind }) => kind === 'r').map(({ oid }) => oid),
  )
  assert.deepEqual(set.findings, [])
  return set
}

/** An archive of what the live tables hold now. */
export async function archiveOf(session: Session, set: SwapSet) {
  const members = new Set(set.members.map(({ oid }) => oid))
  const rowsOf = new Map<string, string>()
  const tables: ArchivedTable[] = []
  for (const table of await readTables(session)) {
    if (table.kind !== 'r' || !members.has(table.oid)) continue
    // In another order than the live table has them (D10).
    const { schema, name } = table
    const columns = table.columns.toReversed()
    const copy = copyStreams.to(`copy ${quoteTable(table)} ${copyColumns(columns)} to stdout`)
    const rowText = await text(session.client.query(copy))
    const { rows, value } = await readChecksum(session, table, columns)
    const stored = { key: `${tables.length}`, header_bytes: 0, sha256: '0'.repeat(64), compressed_bytes: 1 }
    rowsOf.set(stored.key, rowText)
    const parts = [{ ...stored, rows, bytes: rowText.length }]
    const checksum = { algorithm: CHECKSUM_ALGORITHM, value } as const
    tables.push({ schema, name, columns, rows, bytes: rowText.length, checksum, parts })
  }
  const opened: Pick<OpenedArchive, 'readRows'> = {
    readRows: async (_table, part, _signal, onBytes) => {
      onBytes?.(part.bytes, part.rows)
      return await Promise.resolve(Readable.from([Buffer.from(rowsOf.get(part.key) ?? '')]))
    },
  }
  const manifest = { id: 'an archive of the live tables' }
  return { tables, archive: { ...opened, manifest } as OpenedArchive }
}

type Run = Told['run']

/** Everything between an empty stage and its proof, as a swap does it. */
export async function fill(
  target: Target,
  staged: Staged,
  { tables, archive }: Awaited<ReturnType<typeof archiveOf>>,
  run: FillOptions,
): Promise<Filled> {
  return await fillFrom(target, staged, archiveFeed(archive, tables), run)
}

type FillOptions = Run & { sequences?: string; whileLoading?: () => Promise<void>; trace?: Trace }
type Filled = { prepared: PreparedStage; found: Map<string, Found>; tables: ArchivedTable[] }

export async function fillFrom(target: Target, staged: Staged, feed: Feed, run: FillOptions): Promise<Filled> {
  const { reporter, sequences = '' } = run
  await using lanes = lanesOf(run)
  const prepared = await prepareStage(target, staged, feed.tables)
  const door = stageDoor(target.database, lanes.count)
  const onLoaded = async (): Promise<void> => await run.whileLoading?.()
  const filling = fillStage(target, prepared, feed, { lanes, door, reporter, sequences, onLoaded })
  await allOf<unknown>([filling.built, filling.finished])
  return { prepared, found: await filling.built, tables: await filling.finished }
}

export async function prove(
  target: Target,
  prepared: PreparedStage,
  rows: ToProve,
  run: Run,
): ReturnType<typeof proveStage> {
  await using lanes = lanesOf(run)
  const door = stageDoor(target.database, lanes.count)
  return await proveStage(prepared, rows, { lanes, door, reporter: run.reporter })
}

function lanesOf({ connections, signal, trace = createTrace() }: Run & { trace?: Trace }): Lanes {
  return openLanes({ count: connections, signal, trace })
}

/** Lines of a fingerprint under the live names, and OIDs: what must be as before, whatever became of the stage. */
export async function readLive(session: Session, set: SwapSet) {
  const oids = await session.query<{ oid: string; name: string }>(
    `select c.oid::text as oid, c.oid::regclass::text as name
     from pg_class c join pg_namespace n on n.oid = c.relnamespace where n.nspname = any ($1) order by 1`,
    [schemasOf(set)],
  )
  return { oids, lines: await readFingerprintLines(session) }
}

const ALTER = { r: 'table', p: 'table', v: 'view', m: 'materialized view' }

/** What the database would be if the twins stood where the live tables stand; nothing of it stays. */
export async function asIfSwapped<T>(session: Session, set: SwapSet, stage: Aside, look: () => Promise<T>): Promise<T> {
  await session.run('begin')
  const movers = [
    ...set.members.map((one) => ({ ...one, what: ALTER[one.kind] })),
    ...set.statistics.map((one) => ({ ...one, what: 'statistics' })),
  ]
  const hold = asideOf('hold', 'jtest', schemasOf(set))
  for (const name of hold.schemas.values()) await session.run(`create schema ${name}`)
  for (const { what, schema, name } of movers) {
    await session.run(`alter ${what} ${quoteTable({ schema, name })} set schema ${hold.schemas.get(schema)}`)
  }
  for (const { what, schema, name } of movers) {
    await session.run(`alter ${what} ${quoteTable(inAside(stage, { schema, name }))} set schema ${quoteIdent(schema)}`)
  }
  try {
    return await look()
  } finally {
    await session.run('rollback')
  }
}
