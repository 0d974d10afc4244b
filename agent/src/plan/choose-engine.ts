import type { Engine, EngineChoice } from '@multiboard-sync/shared/job'
import { SyncError } from '@multiboard-sync/shared/sync-error'
import { formatTableName, type TableName } from '@multiboard-sync/shared/table-pattern'

export interface EngineDecision {
  engine: Engine
  reason: string
}

/**
 * Which engine carries the rows. `create` when the target has none of the tables, else `truncate`; that some are missing
 * is then for compareSchema to say, together with whatever else differs.
 * `conflicts` are other objects of the origin that the target already has: `create` would collide with them.
 * Throws `target-not-empty`, `target-empty`.
 */
export function chooseEngine(
  asked: EngineChoice,
  wanted: TableName[],
  present: TableName[],
  conflicts: string[],
): EngineDecision {
  const live = new Set(present.map(formatTableName))
  const missing = wanted.map(formatTableName).filter((name) => !live.has(name))
  const noneThere = missing.length === wanted.length
  if (asked === 'create' && !noneThere) {
    throw new SyncError('target-not-empty', 'The target already has tables of this job, so they cannot be created.', {
      hint: 'Leave the engine to the plan, or empty the target yourself.',
      details: wanted.map(formatTableName).filter((name) => live.has(name)),
    })
  }
  if (asked === 'truncate' && noneThere) {
    throw new SyncError('target-empty', 'The target has none of these tables, so there is nothing to truncate.', {
      hint: 'Leave the engine to the plan: it will create them.',
    })
  }
  if (!noneThere) {
    const some = missing.length === 0 ? 'all' : `${wanted.length - missing.length}`
    return { engine: 'truncate', reason: `the target has ${some} of these tables` }
  }
  if (conflicts.length > 0) {
    throw new SyncError('target-not-empty', 'The target has none of the tables but other objects of the same names.', {
      hint: 'Drop them, or restore into an empty database.',
      details: conflicts,
    })
  }
  return { engine: 'create', reason: 'the target has none of these tables' }
}
