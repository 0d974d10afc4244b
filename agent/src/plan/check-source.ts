import { SyncError } from '@multiboard-sync/shared/sync-error'
import { formatTableName } from '@multiboard-sync/shared/table-pattern'
import { readBlockers } from '../postgres/blockers.ts'
import type { TableInfo } from '../postgres/catalog.ts'
import type { Session } from '../postgres/session.ts'

/** Types whose values are large objects' numbers: the rows would point at nothing. */
const LARGE_OBJECT_TYPES = new Set(['oid', 'lo', 'public.lo'])

export interface Asked {
  /** Tables whose rows are copied. */
  chosen: TableInfo[]
  /** Foreign tables that were asked for: a dump would have their definition, and no row. */
  foreign: TableInfo[]
  /** Nothing was left out, so large objects would be missed. */
  isWhole: boolean
}

/**
 * Refuses by name what an archive would not carry (docs/COVERAGE.md): large objects, when the whole database or a column
 * that may refer to them is copied; foreign tables, when they were asked for; row security that would hide rows.
 * Throws `unsupported-object` with every finding.
 */
export async function checkSource(session: Session, { chosen, foreign, isWhole }: Asked): Promise<void> {
  const needsLargeObjects =
    isWhole || chosen.some((table) => table.columns.some((column) => LARGE_OBJECT_TYPES.has(column.type)))
  const rows = new Set(chosen.map(formatTableName))
  const definitions = new Set(foreign.map(formatTableName))
  const findings = (await readBlockers(session)).filter(({ kind, name }) => {
    if (kind === 'large-objects') return needsLargeObjects
    if (kind === 'foreign-table') return definitions.has(name)
    return kind === 'forced-row-security' && rows.has(name)
  })
  if (findings.length === 0) return
  throw new SyncError('unsupported-object', `"${session.database}" holds what an archive does not carry.`, {
    hint: 'Leave it out: name other tables, or exclude it in the route. docs/COVERAGE.md tells more.',
    details: findings.map((finding) => `${finding.kind} ${finding.name}: ${finding.reason}`),
  })
}
