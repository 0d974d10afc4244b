import type { SearchMode } from '@multiboard-sync/shared/search'
import type { Generation } from '../generation.ts'

/** What decides whether only the difference is sent, or a new generation is made. */
export interface ModeFacts {
  /** Asked for with --full. */
  full: boolean
  alias: string
  /** The real name that searches reach now. */
  live: string | undefined
  generation: Generation | undefined
  /** The live one bears the alias's own name. */
  isPlain: boolean
  /** How the live schema differs from the mapping's. */
  drift: string[]
  /** Of the compiled mapping. */
  mappingSha256: string
}

/**
 * Incremental only where the live collection is a proven generation of this very mapping. Whether little enough has changed
 * is seen later, from the rows; then the reason is told with the result.
 */
export function chooseMode(facts: ModeFacts): { mode: SearchMode; reason: string } {
  const { generation, drift } = facts
  const full = (reason: string): { mode: SearchMode; reason: string } => ({ mode: 'full', reason })
  if (facts.full) return full('asked for')
  if (facts.live === undefined) return full('there is no index yet')
  if (facts.isPlain) return full("a plain collection bears the alias's name")
  if (!generation) return full(`the collection behind the alias, ${facts.live}, is not of our making`)
  if (generation.alias !== facts.alias) return full(`the collection behind the alias was made for ${generation.alias}`)
  if (generation.state !== 'complete') return full('the generation behind the alias was never proven')
  if (drift.length > 0) return full('the schema behind the alias is not what the mapping says')
  if (generation.mapping_sha256 !== facts.mappingSha256) return full('the mapping has changed')
  return { mode: 'incremental', reason: 'mapping and schema are what they were: only what differs is sent' }
}
