import { rollBack } from '../roll-back.ts'
import { SyncError } from '@multiboard-sync/shared/sync-error'
import { formatTableName, type TableName } from '@multiboard-sync/shared/table-pattern'
import type { DumpEntry } from '../../postgres/dump-entries.ts'
import {
  prepareFingerprint,
  readFingerprintLines,
  type Fingerprint,
  type FingerprintOptions,
  type PreparedFingerprint,
} from '../../postgres/fingerprint.ts'
import { findLeaks, prepareLeakSuspicion } from '../../postgres/leak-check.ts'
import { holdOffVacuum, lockRelations } from '../../postgres/lock-relations.ts'
import { readTogether } from '../../postgres/query-all.ts'
import { quoteIdent, quoteLiteral, quoteTable } from '../../postgres/quote.ts'
import type { Session } from '../../postgres/session.ts'
import { schemasOf, type Member, type SetStatistics } from '../../postgres/swap-set/swap-set.ts'
import { differentFacts } from '../different-facts.ts'
import { runEntries } from '../run-entries.ts'
import { inAside, type Aside } from './aside.ts'
import { toBuiltInGrants } from './built-in-grants.ts'

/** What is made in one transaction. */
export interface Batch {
  members: Member[]
  statistics: SetStatistics[]
  /** Of pg_dump, in its order, without foreign keys. */
  entries: DumpEntry[]
}

interface TwinsRun {
  /** Each entry as a query of its own, so that an error names it. */
  oneByOne: boolean
  signal: AbortSignal
}

/** How long the locks that readers wait for were held, in milliseconds. */
export interface Held {
  ms: number
  /** Without what it takes to send messages and to read the fingerprint, which one table takes as well as ten. */
  ownMs: number
}

/** Messages under these locks. */
const TRIPS = 3
/** Readers of the tables wait behind us while we wait for the locks: briefly, then again later. */
const LOCK_MS = 250
/** Of owned sequences, which LOCK TABLE does not take: whoever has called nextval() holds them to the end. */
const SEQUENCE_LOCK_MS = 250
/** Of any one statement in between; each takes a few milliseconds unless an event trigger does more. */
const STATEMENT_MS = 5_000
/** A role or database may have defaults of its own; pg_dump's entries that are about tables say theirs. */
const NO_SETTINGS = `set default_tablespace = ''`

/**
 * Makes the twins of one batch in one short transaction and puts them into the stage. Throws `lock-timeout` (to be tried
 * again), `schema-changed` when a twin is not what the live table is, and the session's errors; always after a rollback.
 */
export async function makeTwins(
  session: Session,
  batch: Batch,
  { stage, hold }: { stage: Aside; hold: Aside },
  run: TwinsRun,
): Promise<Held> {
  const scope: FingerprintOptions = {
    keys: 'none',
    within: { schemas: schemasOf(batch), relations: batch.members },
  }
  const fingerprint = await prepareFingerprint(session, scope, 'parsed')
  // What this transaction makes is all that it can have made somebody point to: the twins before it are looked at when all
  // stand. Event triggers may do anything, and what looks odd may be none of ours: then everything is looked at, here.
  const suspicion = await prepareLeakSuspicion(
    session,
    batch.members.map((member) => inAside(stage, member)),
  )
  // Read committed: under the locks the catalogue is to be seen as it is now.
  await session.run('begin isolation level read committed')
  try {
    const askedAt = performance.now()
    await requireSame(session, batch.members)
    const tripMs = performance.now() - askedAt
    await holdOffVacuum(session, ofKind(batch, 'r', 'p'))
    // With that lock nobody alters the tables any more, and nobody waits while they are read. Grants, and what is done to
    // views from here on, no lock of ours would keep away either: the exchange compares the live definitions again.
    await requireSame(session, batch.members)
    const readAt = performance.now()
    const live = await fingerprint.read()
    // Nothing of it is there yet: read once, it is planned when others wait.
    await suspicion.read()
    const readMs = performance.now() - readAt
    await lockBatch(session, batch)
    const lockedAt = performance.now()
    if (ofKind(batch, 'v', 'm').length > 0) await requireSame(session, batch.members)
    const before = [
      `set local lock_timeout = ${SEQUENCE_LOCK_MS}; set local statement_timeout = ${STATEMENT_MS}`,
      movesSql(batch, stay, (name) => inAside(hold, name)),
    ]
    if ((await makeAll(session, batch, before, fingerprint, run)).sha256 !== live.sha256) {
      throw await differs(session, scope)
    }
    const [isSuspicious] = await readTogether<[boolean]>(
      session,
      [movesSql(batch, stay, (name) => inAside(stage, name)), movesSql(batch, (name) => inAside(hold, name), stay)],
      [suspicion],
    )
    if (isSuspicious) refuseLeaks(await findLeaks(session, [...stage.schemas.values()]))
    await session.run('commit')
    const ms = performance.now() - lockedAt
    return { ms, ownMs: Math.max(1, ms - TRIPS * tripMs - readMs) }
  } catch (error) {
    await rollBack(session)
    throw error
  }
}

/** In one message, while others wait; answers how the twins are then. */
async function makeAll(
  session: Session,
  batch: Batch,
  first: string[],
  fingerprint: PreparedFingerprint,
  { oneByOne, signal }: TwinsRun,
): Promise<Fingerprint> {
  const isGrant = (entry: DumpEntry): boolean => entry.type === 'ACL'
  const makers = batch.entries.filter((entry) => !isGrant(entry))
  const grants = batch.entries.filter(isGrant)
  const before = NO_SETTINGS
  const between = toBuiltInGrants(batch.members)
  const after = [
    ...batch.statistics.flatMap(statisticsSql),
    'reset default_tablespace',
    'reset default_table_access_method',
  ]
  if (oneByOne) {
    for (const sql of [...first, before]) await session.run(sql)
    await runEntries(session, makers, signal)
    await session.run(between)
    await runEntries(session, grants, signal)
    for (const sql of after) await session.run(sql)
    return await fingerprint.read()
  }
  const all = [...first, before, ...withSettings(makers), between, ...withSettings(grants), ...after]
  const [twins] = await readTogether<[Fingerprint]>(session, all, [fingerprint])
  return twins
}

/** An entry's settings stay in force until others do. */
function withSettings(entries: DumpEntry[]): string[] {
  let settings = ''
  return entries.flatMap((entry) => {
    const sql = entry.settings === settings ? [entry.sql] : [entry.settings, entry.sql]
    settings = entry.settings
    return sql
  })
}

/** pg_dump -t leaves extended statistics out. Their definition names the table where it stands now. */
function statisticsSql(one: SetStatistics): string[] {
  const name = quoteTable(one)
  return [
    one.definition,
    `alter statistics ${name} owner to ${quoteIdent(one.owner)}`,
    ...(one.target === null ? [] : [`alter statistics ${name} set statistics ${one.target}`]),
    ...(one.comment === null ? [] : [`comment on statistics ${name} is ${quoteLiteral(one.comment)}`]),
  ]
}

const ALTER: Record<Member['kind'], string> = {
  r: 'alter table',
  p: 'alter table',
  v: 'alter view',
  m: 'alter materialized view',
}

type Place = (name: TableName) => TableName
const stay: Place = (name) => name

/** Indexes, owned sequences and row types go with their table; partitions and statistics do not. */
function movesSql({ members, statistics }: Batch, from: Place, to: Place): string {
  return [
    ...members.map((one) => `${ALTER[one.kind]} ${quoteTable(from(one))} set schema ${quoteIdent(to(one).schema)}`),
    ...statistics.map((one) => `alter statistics ${quoteTable(from(one))} set schema ${quoteIdent(to(one).schema)}`),
  ].join(';\n')
}

function ofKind({ members }: Batch, ...kinds: Member['kind'][]): Member[] {
  return members.filter(({ kind }) => kinds.includes(kind))
}

async function lockBatch(session: Session, batch: Batch): Promise<void> {
  await lockRelations(session, {
    // A set has what reads others after them; whoever reads a view locks it first.
    views: ofKind(batch, 'v').toReversed(),
    materialized: ofKind(batch, 'm'),
    tables: ofKind(batch, 'r', 'p'),
    forMs: LOCK_MS,
  })
}

/** The relations of these names are still those that the set was read from. */
async function requireSame(session: Session, members: Member[]): Promise<void> {
  const gone = await session.query<TableName>(
    `select w.schema, w.name
     from unnest($1::oid[], $2::text[], $3::text[]) as w(oid, schema, name)
     where not exists (
       select from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace
       where c.oid = w.oid and n.nspname = w.schema and c.relname = w.name)`,
    [members.map(({ oid }) => oid), members.map(({ schema }) => schema), members.map(({ name }) => name)],
  )
  if (gone.length > 0) throw schemaChanged(gone.map((name) => `renamed, moved or dropped: ${formatTableName(name)}`))
}

/** Ends the transaction, to read how the live tables are. */
async function differs(session: Session, scope: FingerprintOptions): Promise<SyncError> {
  const twins = await readFingerprintLines(session, scope)
  await session.run('rollback')
  const live = await readFingerprintLines(session, scope)
  return schemaChanged(differentFacts(live, twins))
}

function schemaChanged(details: string[]): SyncError {
  return new SyncError('schema-changed', "The target's tables are not those that were read a moment ago.", {
    hint: 'Nothing was changed. Start the job again when the migration is over; if there was none, an event trigger may change new tables: use the engine merge.',
    details,
  })
}

/** Something of the live side, an event trigger's doing perhaps, that would stand in the way of dropping the stage. */
export function refuseLeaks(leaks: string[]): void {
  if (leaks.length === 0) return
  throw new SyncError('unsupported-object', 'Something outside the stage would point into it.', {
    hint: 'Nothing was changed. Use the engine merge, and report this as a bug.',
    details: leaks,
  })
}
