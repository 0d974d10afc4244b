import type { Queries } from './open-database.ts'

/** The newest file of `sql/`, which a function's bundle does not hold. A test keeps it so. */
export const NEEDED_MIGRATION = '0004_metrics.sql'

/**
 * Whether the database is at the version that this code needs, or a newer one. False for a database without our tables; rejects
 * when it does not answer.
 */
export async function isMigrated({ query }: Queries): Promise<boolean> {
  const [there] = await query<{ there: boolean }>(`select to_regclass('multiboard.migrations') is not null as there`)
  if (!there?.there) return false
  const found = await query('select from multiboard.migrations where name = $1', [NEEDED_MIGRATION])
  return found.length > 0
}
