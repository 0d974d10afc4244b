import type { WriteStream } from 'node:tty'

import { progressText } from '../../agent/src/cli/progress-line.ts'
import type { JobEvent } from '../../shared/src/event.ts'
import { formatBytes, formatCount } from '../../shared/src/sizes.ts'
import type { JobWatcher } from './follow-job.ts'

export interface Screen extends JobWatcher {
  /** A line that stays. */
  line(text: string): void
  /** What is being done: written over on a terminal, not shown elsewhere. */
  live(text: string): void
  /** Ends the phase that is shown. */
  endPhase(): void
  /** What events have told of each table so far. */
  tables(): TableCount[]
}

export interface TableCount {
  table: string
  /** Rows written to the archive. */
  archived?: number
  /** Rows found in the target by the proof. */
  found?: number
  /** Whether a checksum was compared. */
  checksum: boolean
}

interface PhaseCount {
  phase: string
  startedMs: number
  tables: number
  rows: number
  bytes: number
  documents: number
}

/** The event that tells of one table done, by phase: others may come from what is done at the same time. */
const tableDone: Record<string, string> = {
  exporting: 'table.exported',
  'backing-up': 'table.exported',
  loading: 'table.loaded',
  proving: 'table.proven',
}

/**
 * On a terminal one line that is written over, and is left with the phase's sums when the phase ends; elsewhere only the
 * lines that stay. The sums are counted from events, which are facts, and not from progress, which may lag behind.
 */
export function openScreen(stream: NodeJS.WriteStream & Partial<Pick<WriteStream, 'columns'>>): Screen {
  let isOpen = false
  let count: PhaseCount | undefined
  // CR to the line's start, EL (ECMA-48) to clear what was there.
  const clear = () => {
    if (isOpen) stream.write('\r\u001b[K')
    isOpen = false
  }
  const line = (text: string) => {
    clear()
    stream.write(`${text}\n`)
  }
  const live = (text: string) => {
    if (!stream.isTTY) return
    stream.write(`\r\u001b[K${text.slice(0, (stream.columns ?? 80) - 1)}`)
    isOpen = true
  }
  const endPhase = (endMs = Date.now()) => {
    if (count) line(`  ${phaseText(count, endMs)}`)
    count = undefined
  }
  const tables = new Map<string, TableCount>()
  const noteTable = ({ type, data: { table, rows, checksum } }: JobEvent) => {
    if (typeof table !== 'string' || typeof rows !== 'number') return
    const known = tables.get(table) ?? { table, checksum: false }
    // The safety backup exports the target's tables too, after the archive.
    if (type === 'table.exported' && known.archived === undefined) tables.set(table, { ...known, archived: rows })
    if (type === 'table.proven') tables.set(table, { ...known, found: rows, checksum: typeof checksum === 'string' })
  }
  return {
    line,
    live,
    endPhase: () => endPhase(),
    tables: () => [...tables.values()],
    event: (event) => {
      noteTable(event)
      const atMs = Date.parse(event.at)
      const { phase, rows, bytes } = event.data
      // A phase may be announced again when its next step begins.
      if (event.type === 'job.phase' && typeof phase === 'string' && phase !== count?.phase) {
        endPhase(atMs)
        count = { phase, startedMs: atMs, tables: 0, rows: 0, bytes: 0, documents: 0 }
        live(`  ${phase}`)
      }
      if (event.type === 'job.ended') endPhase(atMs)
      if (count && tableDone[count.phase] === event.type) {
        count.tables += 1
        count.rows += numberOf(rows)
        count.bytes += numberOf(bytes)
      }
      if (count && event.type === 'search.done') count.documents += numberOf(event.data['documents'])
      const said = describeEvent(event)
      if (said !== undefined) line(`  ${said}`)
    },
    progress: (progress) => {
      if (count?.phase === progress.phase) live(`  ${progressText(progress)}`)
    },
  }
}

function numberOf(value: unknown): number {
  return typeof value === 'number' ? value : 0
}

function phaseText({ phase, startedMs, tables, rows, bytes, documents }: PhaseCount, endMs: number): string {
  const seconds = Math.max(0, (endMs - startedMs) / 1000)
  return [
    phase.padEnd(10),
    `${seconds.toFixed(1)} s`.padStart(7),
    ...(tables === 0 ? [] : [`${tables} tables`.padStart(10), `${formatCount(rows)} rows`.padStart(15)]),
    ...(bytes === 0
      ? []
      : [formatBytes(bytes).padStart(8), `${formatBytes(bytes / Math.max(seconds, 0.001))}/s`.padStart(11)]),
    ...(documents === 0 ? [] : [`${formatCount(documents)} documents`.padStart(27)]),
  ].join('  ')
}

function describeEvent({ type, level, data }: JobEvent): string | undefined {
  const { engine, reason, alias, mode } = data
  if (type === 'plan.made' && typeof engine === 'string') {
    return `engine: ${engine}${typeof reason === 'string' ? ` (${reason})` : ''}`
  }
  if (type === 'search.begun' && typeof mode === 'string') {
    return `search: ${mode}${typeof reason === 'string' ? ` (${reason})` : ''}`
  }
  if (type === 'search.stale' && typeof alias === 'string') return `search: ${alias} is stale`
  if (type === 'lock.waiting') return 'waiting for a lock on the target'
  return level === 'warning' && !type.startsWith('job.') ? type : undefined
}
