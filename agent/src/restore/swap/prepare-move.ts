import { SyncError, toSyncError } from '@multiboard-sync/shared/sync-error'
import { formatTableName, type TableName } from '@multiboard-sync/shared/table-pattern'
import { prepareFingerprint, type Fingerprint, type PreparedFingerprint } from '../../postgres/fingerprint.ts'
import { watchCatalog, type ChangeCheck } from '../../postgres/catalog-mark.ts'
import { prepareDependencyPrint, type DependencyPrint } from '../../postgres/dependency-print.ts'
import { findLeaks, prepareLeakSuspicion } from '../../postgres/leak-check.ts'
import {
  holdOffVacuum,
  lockForCheck,
  lockRelations,
  type LockedRelation,
  type Locks,
} from '../../postgres/lock-relations.ts'
import type { PreparedRead } from '../../postgres/query-all.ts'
import { quoteTable } from '../../postgres/quote.ts'
import type { Session } from '../../postgres/session.ts'
import { prepareOldSnapshots, type OldSnapshot } from '../../postgres/snapshot-gate.ts'
import { readSwapSet } from '../../postgres/swap-set/read-swap-set.ts'
import { schemasOf, type Member, type SetKey, type SwapSet } from '../../postgres/swap-set/swap-set.ts'
import { readWrites } from '../../postgres/written-rows.ts'
import { asideOf, createAside, inAside, type Aside } from '../stage/aside.ts'
import type { Exchange } from './change.ts'
import type { Tried } from './contention.ts'
import { keepAheadSql } from './keep-ahead.ts'
import { LOCK_MS } from './lock-for-move.ts'
import { moveSql, needsValidation, outboundKeysSql, raiseSql } from './move-sql.ts'
import { findOrphans } from './orphans.ts'

/*
 * Everything of an exchange that can be done while others read and write the live tables: in its transaction, before its
 * ACCESS EXCLUSIVE locks. What is read here is held against the catalogue's mark under those locks.
 */

/** Of definitions, and of who depends on whom. */
export interface Prints {
  definitions: PreparedFingerprint
  dependencies: DependencyPrint
}

export interface Prepared {
  previous: Aside
  /** Of all live definitions, and of what the move touches. */
  before: Fingerprint
  touchedBefore: { definitions: string; dependencies: string }
  /** What the move may change: far less to read under the locks than everything. */
  touched: Prints
  /** Whether anybody has changed anything since `before` was read. */
  changes: ChangeCheck
  gate: PreparedRead<OldSnapshot[]>
  /** Whether anything may go on pointing to the replaced relations: then everything is looked at. */
  suspicion: PreparedRead<boolean>
  /** What the statements of `moveSql` lock, and what of `raiseSql`. */
  locks: Relations
  moveSql: string
  raiseSql: string
  oids: number[]
  /** readWrites() of `oids`, the live tables that hold rows. */
  writes: number
}

/**
 * Throws `schema-changed` when the live definitions are not those planned, or do not fit the incoming relations;
 * `constraint-violated` when rows outside would lose what they refer to, or the other way round.
 */
export async function prepareMove(session: Session, change: Exchange, prints: Prints, tried: Tried): Promise<Prepared> {
  const { incoming } = change
  const planned = await readSet(session, change)
  const crossing = planned.keys.filter(({ side }) => side !== 'inner')
  const ends = crossing.map((key) => endOf(key, key.side === 'inbound' ? 'table' : 'referenced'))
  const outside = distinct(ends)
  tried.oids = [...planned.members, ...ends].map(({ oid }) => oid)
  // Nobody reads those that wait, but a vacuum may be at work on any of them: it gives way to whoever has waited a second,
  // and of all locks this is the one that keeps nobody else waiting meanwhile.
  const waiting = relationsOf(planned.members.map((one) => ({ ...one, ...inAside(incoming, one) })))
  await holdOffVacuum(session, [...waiting.tables, ...relationsOf(planned.members).tables, ...outside])
  // Of every lock that is not asked for by name: nobody queues behind us longer than this.
  await session.run(`set local lock_timeout = ${LOCK_MS}`)
  await lockRelations(session, { ...waiting, forMs: LOCK_MS })
  await refuseStrangers(session, incoming)
  if (outside.length > 0) {
    await lockForCheck(session, outside, LOCK_MS)
    await proveKeys(session, planned, incoming)
  }
  const previous = asideOf('previous', change.job, schemasOf(planned))
  await createAside(session, previous)

  // Planned before the catalogue is watched: the shorter that is, the fewer changes of others come in between.
  const locks = everyLock(planned, outside)
  const gate = await prepareOldSnapshots(session, change.snapshotMark)
  const suspicion = await prepareLeakSuspicion(
    session,
    planned.members.map((member) => inAside(previous, member)),
  )
  // Nothing of it is there yet: read once, it is planned when others wait.
  await suspicion.read()
  const touched = await prepareTouched(session, planned, locks, prints, change.raise)
  const changes = await watchCatalog(session)
  const set = await readSet(session, change)
  if (JSON.stringify(set) !== JSON.stringify(planned)) throw changedMeanwhile()
  const before = await prints.definitions.read()
  if (change.fingerprint !== undefined && before.sha256 !== change.fingerprint) throw notAsPlanned()
  await rememberKeys(session, change.job, set.keys.filter(needsValidation))
  // As they are counted when the job begins: the tables that rows are written to.
  const oids = set.members.filter(({ kind }) => kind === 'r').map(({ oid }) => oid)
  const [definitions, dependencies] = [await touched.definitions.read(), await touched.dependencies.read()]
  return {
    previous,
    before,
    touched,
    touchedBefore: { definitions: definitions.sha256, dependencies },
    changes,
    gate,
    suspicion,
    locks,
    moveSql: [moveSql(set, incoming, previous), ...(await keepAheadSql(session, set, previous))].join(';\n'),
    raiseSql: await readRaiseSql(session, change.raise),
    oids,
    writes: await readWrites(session, oids),
  }
}

/** What points to the incoming relations before they are live would point to the live ones afterwards. */
async function refuseStrangers(session: Session, incoming: Aside): Promise<void> {
  const strangers = await findLeaks(session, [...incoming.schemas.values()])
  if (strangers.length === 0) return
  throw new SyncError('schema-changed', 'Something outside points to the tables that would become the live ones.', {
    hint: 'Nothing was changed. Drop what is named here, and try again.',
    details: strangers,
  })
}

/** Somebody's definitions came in between: the next attempt reads them, and says whether they are still those planned. */
export function changedMeanwhile(): SyncError {
  return new SyncError('schema-changed', "The target's definitions were changed in the very moment of the swap.", {
    hint: 'Nothing was changed. Start the job again when the migration is over.',
    retryable: true,
  })
}

function notAsPlanned(): SyncError {
  return new SyncError('schema-changed', "The target's definitions were changed while the job ran.", {
    hint: 'Nothing was changed. Start the job again when the migration is over.',
  })
}

/** The set as it is now, of relations that wait in `incoming` under the same names. */
async function readSet(session: Session, change: Exchange): Promise<SwapSet> {
  const set = await readSwapSet(session, await readOids(session, change.tables))
  if (set.findings.length > 0) {
    throw new SyncError('schema-changed', 'Something depends on the tables by now that a swap cannot carry.', {
      hint: 'Nothing was changed. Plan the job again: another engine may do.',
      // A session's temporary view: it is waited for as a lock is.
      retryable: set.findings.every(({ passes }) => passes === true),
      details: set.findings.map(({ text }) => text),
    })
  }
  const differences = await compareNames(session, set, change.incoming)
  if (differences.length === 0) return set
  throw new SyncError('schema-changed', 'The live tables are not those that would take their place.', {
    hint: 'Nothing was changed. Tables or views were made, dropped or renamed since.',
    details: differences,
  })
}

async function readOids(session: Session, tables: TableName[]): Promise<number[]> {
  const rows = await session.query<{ schema: string; name: string; oid: number | null }>(
    `select t.schema, t.name, c.oid::int8::float8 as oid
     from unnest($1::text[], $2::text[]) as t (schema, name)
     left join pg_catalog.pg_namespace n on n.nspname = t.schema
     left join pg_catalog.pg_class c on c.relnamespace = n.oid and c.relname = t.name and c.relkind = 'r'`,
    [tables.map(({ schema }) => schema), tables.map(({ name }) => name)],
  )
  return rows.map(({ oid, ...table }) => {
    if (oid !== null) return oid
    throw new SyncError('schema-changed', `Table ${formatTableName(table)} is not in the target any more.`, {
      hint: 'Nothing was changed. Start the job again.',
    })
  })
}

/** One line for everything that is live and not in `incoming`, or the other way round. */
async function compareNames(session: Session, set: SwapSet, incoming: Aside): Promise<string[]> {
  const rows = await session.query<{ aside: string; name: string; kind: string }>(
    `select n.nspname::text as aside, c.relname::text as name, c.relkind::text as kind
     from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace
     where c.relkind in ('r', 'p', 'v', 'm', 'f') and n.nspname = any ($1)
     union all
     select n.nspname::text, s.stxname::text, 's'
     from pg_catalog.pg_statistic_ext s join pg_catalog.pg_namespace n on n.oid = s.stxnamespace
     where n.nspname = any ($1)`,
    [[...incoming.schemas.values()]],
  )
  const sourceOf = new Map([...incoming.schemas].map(([schema, aside]) => [aside, schema]))
  const word = (kind: string): string => WORDS[kind] ?? 'relation'
  const waiting = new Set(
    rows.map(
      ({ aside, name, kind }) => `${word(kind)} ${formatTableName({ schema: sourceOf.get(aside) ?? '', name })}`,
    ),
  )
  const live = new Set([
    ...set.members.map((member) => `${word(member.kind)} ${formatTableName(member)}`),
    ...set.statistics.map((one) => `${word('s')} ${formatTableName(one)}`),
  ])
  return [
    ...[...live].filter((one) => !waiting.has(one)).map((one) => `${one} has nothing to take its place`),
    ...[...waiting].filter((one) => !live.has(one)).map((one) => `${one} is not in the target any more`),
  ].toSorted()
}

const WORDS: Record<string, string> = {
  r: 'table',
  p: 'partitioned table',
  v: 'view',
  m: 'materialized view',
  f: 'foreign table',
  s: 'statistics object',
}

/** Under locks that keep others from writing to the tables outside: what is proven stays so until the commit. */
async function proveKeys(session: Session, set: SwapSet, incoming: Aside): Promise<void> {
  const inbound = set.keys.filter(({ side }) => side === 'inbound')
  const orphans = await findOrphans(session, inbound, (member) => inAside(incoming, member))
  if (orphans.length > 0) throw violated(orphans)
  for (const { key, sql } of outboundKeysSql(set, incoming)) {
    try {
      await session.run(sql)
    } catch (error) {
      // The server names the table where it stands now, which means nothing to people.
      if (toSyncError(error).code !== 'constraint-violated') throw error
      throw violated([`${formatTableName(key.table)} "${key.name}"`], error)
    }
  }
}

function violated(keys: string[], cause?: unknown): SyncError {
  return new SyncError('constraint-violated', 'Rows would refer to rows that are not there after the swap.', {
    hint: 'Nothing was changed. Copy the tables at the other end too, or mend the rows there.',
    details: keys.map((key) => `foreign key of ${key}`),
    cause,
  })
}

/** The keys that come back NOT VALID, so that whoever comes after us, even after a crash, has them checked. */
async function rememberKeys(session: Session, job: string, keys: SetKey[]): Promise<void> {
  await session.query(
    `insert into multiboard_sync.to_validate (schema_name, table_name, constraint_name, job)
     select t.schema, t.name, t.key, $4 from unnest($1::text[], $2::text[], $3::text[]) as t (schema, name, key)
     on conflict (schema_name, table_name, constraint_name) do update set job = excluded.job`,
    [keys.map(({ table }) => table.schema), keys.map(({ table }) => table.name), keys.map(({ name }) => name), job],
  )
}

async function readRaiseSql(session: Session, raise: Exchange['raise']): Promise<string> {
  const rows = await session.query<TableName & { owner: string; value: string; called: boolean }>(
    `select t.schema, t.name, pg_catalog.pg_get_userbyid(c.relowner)::text as owner, t.value, t.called
     from unnest($1::text[], $2::text[], $3::text[], $4::bool[]) as t (schema, name, value, called)
     join pg_catalog.pg_namespace n on n.nspname = t.schema
     join pg_catalog.pg_class c on c.relnamespace = n.oid and c.relname = t.name and c.relkind = 'S'`,
    [
      raise.map(({ sequence }) => sequence.schema),
      raise.map(({ sequence }) => sequence.name),
      raise.map(({ value }) => value),
      raise.map(({ isCalled }) => isCalled),
    ],
  )
  return rows.map(({ value, called, ...sequence }) => raiseSql(sequence, BigInt(value), called)).join(';\n')
}

function endOf(key: SetKey, end: 'table' | 'referenced'): TableName & { oid: number } {
  return end === 'table' ? { ...key.table, oid: key.tableOid } : { ...key.referenced, oid: key.referencedOid }
}

type Relations = Omit<Locks, 'forMs'>

/**
 * What has to be compared under the locks. The move's statements change definitions of, and rows of pg_depend with one end
 * at, nothing but members and those that take their names, the tables at the other end of their keys, and what is made
 * again: all of that is in the scope, by name, so that it is read from the new relations afterwards. That nobody else has changed anything is told by
 * the catalogue's mark, what would go on pointing to the replaced relations by the leak check, which is of everything.
 * An event trigger may change anything in the middle of the move, and functions and domains are no relations: then
 * everything is compared.
 */
async function prepareTouched(
  session: Session,
  set: SwapSet,
  { views, materialized, tables }: Relations,
  prints: Prints,
  raise: Exchange['raise'],
): Promise<Prints> {
  if (set.remade.some(({ relation }) => relation === undefined) || (await hasEventTriggers(session))) return prints
  const foreign = set.remade.flatMap(({ relation }) => (relation?.kind === 'f' ? [relation] : []))
  const sequences = raise.map(({ sequence }) => sequence)
  const relations = [...views, ...materialized, ...tables, ...foreign, ...sequences].map(({ schema, name }) => ({
    schema,
    name,
  }))
  const schemas = [...new Set([...relations, ...set.statistics].map(({ schema }) => schema))]
  return {
    definitions: await prepareFingerprint(session, { keys: 'unvalidated', within: { schemas, relations } }),
    dependencies: await prepareDependencyPrint(session, relations),
  }
}

async function hasEventTriggers(session: Session): Promise<boolean> {
  const [row] = await session.query<{ any: boolean }>(
    `select exists (select from pg_catalog.pg_event_trigger where evtenabled <> 'D') as any`,
  )
  return row?.any ?? true
}

/** What the statements of the move lock: nothing may be waited for once the first of these is held. */
function everyLock(set: SwapSet, outside: TableName[]): Relations {
  const members = relationsOf(set.members)
  const remade = set.remade.flatMap(({ relation, owner }) => (relation === undefined ? [] : [{ ...relation, owner }]))
  const of = (kinds: string): LockedRelation[] => remade.filter(({ kind }) => kinds.includes(kind))
  return {
    views: distinct([...of('v'), ...members.views]),
    materialized: distinct([...of('m'), ...members.materialized]),
    tables: distinct([...members.tables, ...outside, ...of('rp')]),
  }
}

/** Views outermost first, as a reader locks them: members come in the order in which they are made. */
function relationsOf(members: Pick<Member, 'schema' | 'name' | 'kind' | 'owner'>[]): Relations {
  const of = (kinds: string) => members.filter(({ kind }) => kinds.includes(kind))
  return { views: of('v').toReversed(), materialized: of('m').toReversed(), tables: of('rp') }
}

function distinct<T extends TableName>(relations: T[]): T[] {
  return [...new Map(relations.map((relation) => [quoteTable(relation), relation])).values()]
}
