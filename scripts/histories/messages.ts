import type { Sabotage } from './sabotage.ts'

/** What `pnpm histories` and its workers say to each other. */

export interface Order {
  /** URLs of databases that are there and empty. */
  urls: Record<'control' | 't1' | 't2', string>
  /** The first seed, the last one, and the step between. */
  from: number
  to: number
  step: number
  sabotage: Sabotage | undefined
}

export type Said =
  | { what: 'played'; commits: number; sabotaged: number }
  | { what: 'violated'; seed: number; violations: readonly string[]; story: readonly string[]; sabotaged: number }
  | { what: 'done' }
