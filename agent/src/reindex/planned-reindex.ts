import type { SearchMode } from '@multiboard-sync/shared/search'
import type { Collection } from '../typesense/typesense.ts'
import type { CompiledMapping } from './compiled-mapping.ts'
import type { Generation } from './generation.ts'

/** What the preflight found of one alias, and what it means to do. */
export interface PlannedReindex {
  alias: string
  compiled: CompiledMapping
  /** The collection that searches reach now: behind the alias, or a plain one that bears its name. */
  live: Collection | undefined
  /** What we wrote down of the live one; undefined when it is not of our making. */
  generation: Generation | undefined
  mode: SearchMode
  reason: string
  /** Documents that the rows make now; undefined when they were not looked at. */
  rows: number | undefined
  notices: string[]
}
