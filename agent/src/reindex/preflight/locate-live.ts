import type { Collection } from '../../typesense/typesense.ts'
import { readGeneration, type Generation } from '../generation.ts'
import type { SearchServer } from './inspect-server.ts'

/** What searches for an alias reach now. */
export interface Located {
  live: Collection | undefined
  generation: Generation | undefined
  /** A real collection bears the alias's own name: it hides an alias of that name. */
  isPlain: boolean
  findings: string[]
  notices: string[]
}

export interface Adoption {
  /** The mapping's: a generation may take the place of a plain collection. */
  adopt: boolean
  /** Version 30 and later copy a collection with its documents. */
  keepsCopy: boolean
}

export function locateLive({ aliases, collections }: SearchServer, alias: string, adoption: Adoption): Located {
  const target = aliases.get(alias)
  const plain = collections.get(alias)
  if (plain) return { live: plain, generation: undefined, isPlain: true, ...plainText(alias, target, adoption) }
  const none = { live: undefined, generation: undefined, isPlain: false, findings: [], notices: [] }
  if (target === undefined) return none
  const live = collections.get(target)
  if (!live) {
    return {
      ...none,
      findings: [
        `the alias points to ${target}, which does not exist or which the key may not see (point the alias to a collection that is there, or delete it with DELETE /aliases/${alias}, which deletes no collection)`,
      ],
    }
  }
  const generation = readGeneration(live)
  const others = [...aliases].filter(([name, to]) => to === target && name !== alias).map(([name]) => name)
  const notices = [
    ...(generation?.alias === alias
      ? []
      : [`${target} was not made for this alias: a generation of ours takes its place, ${target} stays as it is`]),
    ...(others.length === 0 ? [] : [`${target} is reached through ${others.join(', ')}, too`]),
  ]
  return { live, generation, isPlain: false, findings: [], notices }
}

function plainText(
  alias: string,
  target: string | undefined,
  { adopt, keepsCopy }: Adoption,
): Pick<Located, 'findings' | 'notices'> {
  const findings: string[] = []
  if (target !== undefined) {
    findings.push(
      `a plain collection of this name hides the alias that points to ${target} (delete the one that is not meant: the alias with DELETE /aliases/${alias}, which deletes no collection)`,
    )
  } else if (!adopt) {
    findings.push(
      'a plain collection bears this name, and an alias cannot take it while it is there (set adopt: true to have it replaced by a generation, as docs/TYPESENSE.md describes under "Adopting", or choose another alias)',
    )
  }
  const undo = keepsCopy ? 'a copy of it is kept for undo, where there is room' : 'no undo brings it back'
  const notices = [
    `a plain collection bears this name: when its successor is filled and proven it is dropped, and the alias takes its name. Searches in the moment between find no collection; ${undo}`,
  ]
  return { findings, notices: findings.length === 0 ? notices : [] }
}
