import { formatBytes, formatNumberOf } from '@multiboard-sync/shared/sizes'
import type { Leftover } from '../find-leftovers.ts'

/** One leftover for people: `previous tables of j4k7q2m9xw1ab in staging: 12 tables, 1.3 GB`. */
export function leftoverText(leftover: Leftover): string {
  const { kind, job } = leftover
  if (kind === 'upload') return `open upload of ${job}: ${leftover.key}`
  const { aside, target } = leftover
  const size = `${formatNumberOf(aside.tables.length, 'table')}, ${formatBytes(aside.bytes)}`
  return `${kind === 'stage' ? 'stage' : 'previous tables'} of ${job} in ${target}: ${size}`
}

/** What doctor says of them: none is a fault, but their space is worth knowing. */
export function leftoversText(leftovers: Leftover[]): string {
  if (leftovers.length === 0) return 'none'
  const hint = leftovers.some(({ kind }) => kind !== 'previous')
    ? '; `pnpm agent clean` removes stages and uploads'
    : ''
  return `${leftovers.map(leftoverText).join('; ')}${hint}`
}
