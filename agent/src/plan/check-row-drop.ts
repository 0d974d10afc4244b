import type { ArchivedTable, ArchiveSummary } from '@multiboard-sync/shared/manifest'
import { formatNumberOf } from '@multiboard-sync/shared/sizes'
import { SyncError } from '@multiboard-sync/shared/sync-error'
import { formatTableName } from '@multiboard-sync/shared/table-pattern'

/**
 * Refuses a job whose source has lost rows: exact counts of the archive against those of the safety backup. `maxPct`
 * comes from the route; without one, or without a backup (nothing is replaced), there is no guard. Throws `row-drop`.
 */
export function checkRowDrop(
  maxPct: number | undefined,
  tables: ArchivedTable[],
  backup: ArchiveSummary | undefined,
): void {
  if (maxPct === undefined || !backup) return
  const before = new Map(backup.tables.map((table) => [table.name, table.rows]))
  const dropped = tables.flatMap((table) => {
    const name = formatTableName(table)
    const rows = before.get(name) ?? 0
    const isTooFew = table.rows < rows * (1 - maxPct / 100)
    return isTooFew ? [`${name}: ${formatNumberOf(rows, 'row')} now, ${table.rows} in the archive`] : []
  })
  if (dropped.length === 0) return
  throw new SyncError(
    'row-drop',
    `${formatNumberOf(dropped.length, 'table')} would lose more than ${maxPct} % of the rows.`,
    {
      hint: 'If that is meant, raise max_row_drop_pct of the route in agent.yaml.',
      details: dropped,
    },
  )
}
