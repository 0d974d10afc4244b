import { formatBytes, formatNumberOf } from '@multiboard-sync/shared/sizes'
import { formatTableName } from '@multiboard-sync/shared/table-pattern'
import type { Cleaned } from '../clean.ts'
import type { Leftover } from '../find-leftovers.ts'

/** One leftover for people: `previous tables of j4k7q2m9xw1ab in staging: 12 tables, 1.3 GB`. */
function leftoverText(leftover: Leftover): string {
  const { kind, job } = leftover
  if (kind === 'upload') return `open upload of ${job}: ${leftover.key}`
  if (kind === 'generation') {
    const { collection, documents } = leftover.generation
    return `collection of ${job} that was never live: ${collection}, ${formatNumberOf(documents, 'document')}`
  }
  const { aside, target } = leftover
  const size = `${formatNumberOf(aside.tables.length, 'table')}, ${formatBytes(aside.bytes)}`
  return `${kind === 'stage' ? 'stage' : 'previous tables'} of ${job} in ${target}: ${size}`
}

/** What doctor says of them: none is a fault, but their space is worth knowing. */
export function leftoversText(leftovers: Leftover[]): string {
  if (leftovers.length === 0) return 'none'
  const hint = leftovers.some(({ kind }) => kind !== 'previous')
    ? '; `pnpm agent clean` removes what no undo needs'
    : ''
  return `${leftovers.map(leftoverText).join('; ')}${hint}`
}

/** What clean has done, one line a leftover. */
export function cleanedText(cleaned: Cleaned[]): string {
  if (cleaned.length === 0) return 'Nothing is left behind.'
  return cleaned.map(({ leftover, what }) => `${leftoverText(leftover)}: ${what}`).join('\n')
}

/** The same for programs. */
export function cleanedJson({ leftover, what }: Cleaned): object {
  const { kind, job } = leftover
  if (leftover.kind === 'upload') return { kind, job, key: leftover.key, what }
  if (leftover.kind === 'generation') return { kind, job, collection: leftover.generation.collection, what }
  const { tables, bytes } = leftover.aside
  return { kind, job, target: leftover.target, tables: tables.map(formatTableName), bytes, what }
}
