import type { Target } from '../postgres/open-target.ts'
import { restoreInOneTransaction } from './in-one-transaction.ts'
import type { Load, Restored, RestoreRun } from './load.ts'
import { merge } from './merge/merge.ts'
import { swap } from './swap/swap.ts'

/*
 * Restore: an archive becomes a target's tables.
 *
 *   swap      load beside, prove, swap in one short transaction, keep the previous tables    swap/
 *   merge     load beside, prove, one transaction of deletes and upserts                     merge/
 *   create    one transaction: make, load, prove                                             in-one-transaction.ts
 *   truncate  one transaction: empty, load, prove                                            in-one-transaction.ts
 *
 * Promises: whatever ends it before its commit, the target is as it was; what is committed was proven, and has a receipt.
 * Never: changes a live table before the safety backup is whole, uses CASCADE on what was there before, commits after the
 * lease has run out by the target's clock.
 */

/** Throws what the engine throws, with the target as it was, except `outcome-unknown`. */
export async function restore(target: Target, load: Load, run: RestoreRun): Promise<Restored> {
  switch (load.engine) {
    case 'create':
    case 'truncate':
      return await restoreInOneTransaction(target, load, run)
    case 'swap':
      return await swap(target, load, run)
    case 'merge':
      return await merge(target, load, run)
  }
}
