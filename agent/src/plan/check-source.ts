import { SyncError } from '@multiboard-sync/shared/sync-error'
import { formatTableName } from '@multiboard-sync/shared/table-pattern'
import { readBlockers } from '../postgres/blockers.ts'
import type { TableInfo } from '../postgres/catalog.ts'
import type { Session } from '../postgres/session.ts'

/** Types whose values are large objects' numbers: the rows would point at nothing. */
const LARGE_OBJECT_TYPES = new Set(['oid', 'lo', 'public.lo'])

/**
 * Refuses by name what an archive would not carry (docs/COVERAGE.md): large objects, when the whole database or a column
 * that may refer to them is copied; foreign tables, when the whole database is; row security that would hide rows.
 * Throws `unsupported-object` with every finding.
 */
export async function checkSource(session: Session, chosen: TableInfo[], isWhole: boolean): Promise<void> {
  const refersToLargeObjects = chosen.filter((table) =>
    table.columns.some((column) => LARGE_OBJECT_TYPES.has(column.type)),
  )
  const names = new Set(chosen.map(formatTableName))
  const findings = (await readBlockers(session)).filter((blocker) => {
    if (blocker.kind === 'large-objects') return isWhole || refersToLargeObjects.length > 0
    if (blocker.kind === 'foreign-table') return isWhole
    if (blocker.kind === 'forced-row-security') return names.has(blocker.name)
    return false
  })
  if (findings.length === 0) return
  throw new SyncError('unsupported-object', `"${session.database}" holds what an archive does not carry.`, {
    hint: 'See docs/COVERAGE.md; choosing tables without these objects is one way.',
    details: findings.map((finding) => `${finding.kind} ${finding.name}: ${finding.reason}`),
  })
}
