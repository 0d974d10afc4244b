import { retry } from '@multiboard-sync/shared/retry'
import { SyncError, toSyncError } from '@multiboard-sync/shared/sync-error'
import { formatTableName } from '@multiboard-sync/shared/table-pattern'
import { splitEntries, type DumpEntry } from '../../postgres/dump-entries.ts'
import { dumpRelations, dumpRelationsOf } from '../../postgres/dump-source.ts'
import { readFingerprint } from '../../postgres/fingerprint.ts'
import { findLeaks, findOutwardLeaks } from '../../postgres/leak-check.ts'
import type { Target } from '../../postgres/open-target.ts'
import { quoteIdent } from '../../postgres/quote.ts'
import type { Session } from '../../postgres/session.ts'
import { schemasOf, type SwapSet } from '../../postgres/swap-set/swap-set.ts'
import type { Reporter } from '../../report/reporter.ts'
import { asideOf, createAside, dropAside, type Aside } from './aside.ts'
import { assignEntries, withoutForeignKeys } from './assign-entries.ts'
import { makeTwins, refuseLeaks, type Batch, type Held } from './make-twins.ts'

/*
 * The stage: empty twins of the live tables, beside them, the same in everything that is defined.
 *
 *   dump ─► for a few tables at a time: begin ─► lock ─► live tables into the hold ─► pg_dump's own entries, unchanged
 *           ─► twin = live? ─► twins into the stage, live tables back ─► nobody outside points into the stage? ─► commit
 *
 * Promises: twins are made by PostgreSQL from pg_dump's text under the live names, and compared with the live tables before
 * anything is committed; nobody sees the middle; whatever fails, the live tables are as they were, with their OIDs.
 * Never: builds a foreign key to a table outside (rows there could not be deleted while the stage stands), sends pg_dump's
 * preamble (it would reset our timeouts), or uses CASCADE.
 */

/**
 * Readers of the tables of one transaction wait until it ends: as many tables as are made in this time. What does not grow
 * with them, some 10 ms, comes on top: on a busy server it takes longer than this, and fewer tables would not help.
 */
const BATCH_MS = 32
/** In the first one; some 3 ms a table, and as much as three tables besides. */
const FIRST_TABLES = 4
const MAX_TABLES = 32
/** From here on pg_dump is quicker with all relations of the schemas, of which the others are left aside. */
const MANY_MEMBERS = 200
const FIRST_DELAY_MS = 100
const MAX_DELAY_MS = 5_000

/** A stage that stands, empty. */
export interface Staged {
  set: SwapSet
  stage: Aside
  /** SHA-256 of its definitions, foreign keys left out; what it must be again when it has been loaded and built. */
  fingerprint: string
}

/** pg_dump's text of the set's members, to be cut into what makes each of them. */
interface Dumped {
  text: string
  of: 'members' | 'schemas'
}

export interface MakeStageRun {
  /** dumpMembers() of the set, where it was begun before. */
  dumped?: Dumped
  /** Tries to get the locks on the tables of one transaction. */
  lockAttempts: number
  reporter: Reporter
  signal: AbortSignal
}

/**
 * Makes the stage's schemas and the twins of the set's members in them. A component of the set is one transaction, small
 * ones share one. On an error the caller drops the stage. Throws `schema-changed` when the live tables are not those that
 * were dumped, `lock-timeout`, and what the session throws.
 */
export async function makeStage(target: Target, set: SwapSet, stage: Aside, run: MakeStageRun): Promise<Staged> {
  const { session } = target
  run.reporter.phase('staging')
  const left = await inComponents(target, set, run)
  const hold = asideOf('hold', stage.job, schemasOf(set))
  await createAside(session, stage)
  // Committed before anything is locked: a new schema makes the server plan our long queries again.
  await createAside(session, hold)
  await letOwnersIn(session, set, stage)
  let [tablesDone, transactions, lockedMs, tables] = [0, 0, 0, FIRST_TABLES]
  const tablesTotal = set.members.length
  while (tablesDone < tablesTotal) {
    const batch = nextBatch(left, tables)
    const { ms, ownMs } = await makeBatch(session, batch, { stage, hold }, run)
    const fitting = Math.round((batch.members.length * BATCH_MS) / ownMs)
    tables = Math.max(1, Math.min(MAX_TABLES, fitting, 2 * tables))
    tablesDone += batch.members.length
    transactions += 1
    lockedMs = Math.max(lockedMs, ms)
    run.reporter.progress({ tablesDone, tablesTotal })
  }
  await dropAside(session, hold)
  refuseLeaks(await findLeaks(session, [...stage.schemas.values()]))
  await refuseLiveReaders(session, set, stage)
  const { sha256 } = await readFingerprint(session, { keys: 'none', within: { schemas: [...stage.schemas.values()] } })
  run.reporter.event('stage.made', {
    tables: tablesTotal,
    transactions,
    // Of the longest of them.
    locked_ms: Math.ceil(lockedMs),
  })
  return { set, stage, fingerprint: sha256 }
}

/** What stands in the stage must not read, or count with, the live relations that it is the twin of. */
async function refuseLiveReaders(session: Session, set: SwapSet, stage: Aside): Promise<void> {
  const leaks = await findOutwardLeaks(session, [...stage.schemas.values()], set.members)
  if (leaks.length === 0) return
  throw new SyncError('unsupported-object', 'A table that was made beside the live ones would go on using those.', {
    hint: 'Nothing was changed. Use the engine merge, and report this as a bug.',
    details: leaks,
  })
}

interface Components {
  set: SwapSet
  entries: DumpEntry[]
  /** The component of each entry; undefined when one fits none: then all go together. */
  assigned: Map<DumpEntry, number> | undefined
  /** Places in `entries` of what makes each component. */
  places: Map<number, number[]>
  /** Those that are still to be made, with the number of their members. */
  sizes: Map<number, number>
}

/** As they are now: what is altered afterwards is found when the twins are compared with the live tables. */
export async function dumpMembers(
  { database }: Pick<Target, 'database'>,
  { members }: SwapSet,
  signal: AbortSignal,
): Promise<Dumped> {
  if (members.length <= MANY_MEMBERS) return { text: await dumpRelations(database, members, signal), of: 'members' }
  const schemas = [...new Set(members.map(({ schema }) => schema))]
  return { text: await dumpRelationsOf(database, schemas, signal), of: 'schemas' }
}

async function inComponents(target: Target, set: SwapSet, { dumped, signal }: MakeStageRun): Promise<Components> {
  const { database, session } = target
  const { members } = set
  const sizes = new Map<number, number>()
  for (const { component } of members) sizes.set(component, (sizes.get(component) ?? 0) + 1)
  const entriesOf = (text: string): DumpEntry[] => withoutForeignKeys(splitEntries(text).entries)
  const { text, of } = dumped ?? (await dumpMembers(target, set, signal))
  let entries = entriesOf(text)
  let assigned = await assignEntries(session, members, entries, of)
  if (assigned === undefined && of === 'schemas') {
    entries = entriesOf(await dumpRelations(database, members, signal))
    assigned = await assignEntries(session, members, entries, 'members')
  }
  return { set, entries, assigned, places: placesOf(entries, assigned), sizes }
}

function placesOf(entries: DumpEntry[], assigned: Components['assigned']): Components['places'] {
  const places = new Map<number, number[]>()
  for (const [place, entry] of entries.entries()) {
    const component = assigned?.get(entry)
    if (component === undefined) continue
    const known = places.get(component)
    if (known === undefined) places.set(component, [place])
    else known.push(place)
  }
  return places
}

/** Takes whole components off `left`: one at least, more while they have no more than so many tables. */
function nextBatch({ set, entries, assigned, places, sizes }: Components, tables: number): Batch {
  if (assigned === undefined) return { members: set.members, statistics: set.statistics, entries }
  const taken = new Set<number>()
  let size = 0
  for (const [component, members] of sizes) {
    if (size > 0 && size + members > tables) break
    taken.add(component)
    sizes.delete(component)
    size += members
  }
  return {
    members: set.members.filter(({ component }) => taken.has(component)),
    statistics: set.statistics.filter(({ component }) => taken.has(component)),
    entries: [...taken]
      .flatMap((component) => places.get(component) ?? [])
      .toSorted((a, b) => a - b)
      .flatMap((place) => entries[place] ?? []),
  }
}

async function makeBatch(
  session: Session,
  batch: Batch,
  asides: { stage: Aside; hold: Aside },
  run: MakeStageRun,
): Promise<Held> {
  const { signal, lockAttempts, reporter } = run
  const options = { signal, attempts: lockAttempts, firstDelayMs: FIRST_DELAY_MS, maxDelayMs: MAX_DELAY_MS }
  // Many statements in one message are fast, but do not say which of them failed: then each goes alone, once.
  let oneByOne = false
  for (;;) {
    const made = await retry(options, async (attempt): Promise<Held | SyncError> => {
      try {
        return await makeTwins(session, batch, asides, { oneByOne, signal })
      } catch (thrown) {
        const error = toSyncError(thrown)
        if (error.code !== 'lock-timeout') return error
        reporter.event('lock.waiting', { attempt, tables: batch.members.slice(0, 5).map(formatTableName) })
        throw error
      }
    })
    if (!(made instanceof SyncError)) return made
    if (oneByOne || !['query-failed', 'permission-denied'].includes(made.code)) throw made
    oneByOne = true
  }
}

/** A REFRESH and the check of a foreign key run as a table's owner, who must be able to reach the tables by name. */
async function letOwnersIn(session: Session, set: SwapSet, stage: Aside): Promise<void> {
  const [me] = await session.query<{ name: string }>('select current_user::text as name')
  const owners = [...new Set(set.members.map(({ owner }) => owner))].filter((owner) => owner !== me?.name)
  if (owners.length === 0) return
  const schemas = [...stage.schemas.values()].map(quoteIdent).join(', ')
  await session.run(`grant usage on schema ${schemas} to ${owners.map(quoteIdent).join(', ')}`)
}
