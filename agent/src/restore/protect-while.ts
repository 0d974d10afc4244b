import type { ArchivedTable } from '@multiboard-sync/shared/manifest'
import { allOf } from '../lanes/lanes.ts'
import type { Load } from './load.ts'
import type { Found } from './prove.ts'

/** Rows on their way into tables beside the live ones. */
export interface Filling {
  /** When all rows are in: what the feed says that they are. */
  finished: Promise<ArchivedTable[]>
  /** When all is done: what was found in each table, by its name in the feed. */
  built: Promise<Map<string, Found>>
}

/**
 * Takes the safety backup while the tables are filled, and asks the guard as soon as both sides are counted. Whatever fails
 * ends the rest; nothing goes on when it throws.
 */
export async function protectWhile(
  { lanes, protect, guard }: Load,
  { finished, built }: Filling,
): Promise<{ filled: Map<string, Found>; tables: ArchivedTable[]; safetyBackup: string | undefined }> {
  const backup = lanes.watch(protect(lanes.signal))
  const askGuard = async (): Promise<void> => {
    const [tables] = await Promise.all([finished, backup])
    guard(tables)
  }
  await allOf<unknown>([built, finished, backup, lanes.watch(askGuard())])
  return { filled: await built, tables: await finished, safetyBackup: await backup }
}
