import type { Engine, EngineChoice } from '@multiboard-sync/shared/job'
import { formatNumberOf } from '@multiboard-sync/shared/sizes'
import { SyncError } from '@multiboard-sync/shared/sync-error'
import { formatTableName, type TableName } from '@multiboard-sync/shared/table-pattern'
import type { DependencyFinding } from '../postgres/swap-set/swap-set.ts'

/*
 * Which engine carries the rows, decided from facts alone:
 *
 *   none of the tables is there                              create
 *   a swap carries everything that depends on them           swap
 *   something keeps a swap from it, every table has a key    merge     the first such finding is the reason
 *   the same without a key                                   truncate
 *   something is neither carried nor left whole              refused, with every finding
 *
 * An engine that was asked for and cannot be is refused: nothing falls back silently.
 */

export interface EngineDecision {
  engine: Engine
  /** A clause: `the target has none of these tables`. */
  reason: string
  /** What else there is to know of the decision. */
  notices: string[]
}

export interface Presence {
  asked: EngineChoice
  wanted: TableName[]
  present: TableName[]
  /** Other objects of the origin that the target already has: `create` would collide with them. */
  conflicts: string[]
}

/**
 * Whether the tables are created: only when the target has none of them. That some are missing is for compareSchema to
 * say, together with whatever else differs. Throws `target-not-empty`, `target-empty`.
 */
export function chooseCreate({ asked, wanted, present, conflicts }: Presence): EngineDecision | undefined {
  const live = new Set(present.map(formatTableName))
  const there = wanted.map(formatTableName).filter((name) => live.has(name))
  if (there.length > 0) {
    if (asked !== 'create') return undefined
    throw new SyncError('target-not-empty', 'The target already has tables of this job, so they cannot be created.', {
      hint: 'Leave the engine to the plan, or empty the target yourself.',
      details: there,
    })
  }
  if (asked !== 'create' && asked !== 'auto') {
    throw new SyncError('target-empty', `The target has none of these tables, so there is nothing to ${asked}.`, {
      hint: 'Leave the engine to the plan: it will create them.',
    })
  }
  if (conflicts.length > 0) {
    throw new SyncError('target-not-empty', 'The target has none of the tables but other objects of the same names.', {
      hint: 'Drop them, or restore into an empty database.',
      details: conflicts,
    })
  }
  return { engine: 'create', reason: 'the target has none of these tables', notices: [] }
}

export interface Obstacles {
  /** Of the swap set. */
  findings: DependencyFinding[]
  /** Why rows cannot be matched with those that are there, clauses. */
  mergeBlockers: string[]
}

/**
 * How tables that are there are replaced. Findings that refuse a swap refuse `auto` too, because they are for people to
 * mend; merge and truncate change rows alone and, asked for by name, are let through. What forbids every engine (a
 * subscription, a publication of all tables, an extension's table, hidden rows) is asked elsewhere, before.
 * Throws `unsupported-object` with every finding.
 */
export function chooseReplacement(asked: EngineChoice, { findings, mergeBlockers }: Obstacles): EngineDecision {
  const texts = (effect: DependencyFinding['effect']): string[] =>
    findings.filter((finding) => finding.effect === effect).map(({ text }) => text)
  const [refused, inPlace] = [texts('refused'), texts('in-place')]
  switch (asked) {
    case 'create':
      throw new Error('tables that are there were to be created')
    case 'truncate':
      return { engine: 'truncate', reason: 'it was asked for', notices: [] }
    case 'merge':
      if (mergeBlockers.length > 0) {
        throw unsupported('These tables cannot be merged', mergeBlockers, 'Ask for the engine truncate, or for none.')
      }
      return { engine: 'merge', reason: 'it was asked for', notices: [] }
    case 'auto':
    case 'swap': {
      const possible = mergeBlockers.length === 0 ? 'merge' : 'truncate'
      if (refused.length > 0) {
        const hint = `Mend what is named, or ask for the engine ${possible}, which replaces rows in place.`
        throw unsupported('These tables cannot be swapped', [...refused, ...inPlace], hint)
      }
      const [reason, ...others] = inPlace
      if (reason === undefined) {
        return { engine: 'swap', reason: 'all that depends on these tables can be carried over', notices: [] }
      }
      if (asked === 'swap') {
        const hint = `Ask for the engine ${possible}, which replaces rows in place, or leave the engine to the plan.`
        throw unsupported('These tables cannot be swapped', inPlace, hint)
      }
      return {
        engine: possible,
        reason,
        notices: [
          ...others.map((text) => `no swap: ${text}`),
          ...(possible === 'truncate' ? mergeBlockers.map((text) => `no merge: ${text}`) : []),
        ],
      }
    }
  }
}

function unsupported(message: string, details: string[], hint: string): SyncError {
  return new SyncError('unsupported-object', `${message}: ${formatNumberOf(details.length, 'finding')}.`, {
    hint,
    details,
  })
}
