import { waitUntilSettled } from '../../typesense/wait-until-settled.ts'
import { readGeneration } from '../generation.ts'
import { describeDrift } from '../mapping/describe-drift.ts'
import type { PlannedReindex } from '../planned-reindex.ts'
import type { Base, FullNeeded, Work } from './work.ts'

/** Whether the live collection can be brought up to date, or why it has to be replaced. */
export async function findBase(
  { run, patience, open }: Pick<Work, 'run' | 'patience' | 'open'>,
  planned: PlannedReindex,
): Promise<Base | FullNeeded> {
  const { alias, live } = planned
  if (!live) return { full: 'there is no index yet' }
  if (!(await isBehindAlias({ run, patience }, alias, live.name))) {
    return { full: 'the alias does not point to the collection that was planned with' }
  }
  await waitUntilSettled(run.typesense, patience)
  patience.onGoing()
  const collection = await patience.ask(async () => await run.typesense.findCollection(live.name))
  if (!collection) return { full: 'the live collection is gone' }
  const generation = readGeneration(collection)
  if (!generation || generation.alias !== alias) return { full: 'the live collection is not of our making' }
  if (generation.state !== 'complete') return { full: 'the live collection was never proven' }
  if (generation.mapping_sha256 !== open.compiled.sha256) {
    return { full: 'the mapping, or a type that it maps, has changed' }
  }
  const [drift] = describeDrift(open.compiled.schema, collection)
  if (drift !== undefined) return { full: `the live collection is not what the mapping makes: ${drift}` }
  return { collection, generation }
}

/** Read anew, because others may set aliases, too. */
export async function isBehindAlias(
  { run, patience }: Pick<Work, 'run' | 'patience'>,
  alias: string,
  collection: string,
): Promise<boolean> {
  const aliases = await patience.ask(async () => await run.typesense.listAliases())
  return aliases.get(alias) === collection
}
