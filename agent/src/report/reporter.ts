import { agentEventSchema, type AgentEvent, type Level, type Progress } from '@multiboard-sync/shared/event'
import type { Phase } from '@multiboard-sync/shared/job'
import { systemClock, type Clock } from './clock.ts'
import { redactRecord, type JsonRecord, type Redact } from './redact.ts'
import { createRate } from './transfer-rate.ts'

/*
 * What the stages tell the world, and nothing else does: which phase a job is in, facts worth keeping (events), and how
 * far it is (progress, where only the latest counts). Every string goes through the redactor before a sink sees it.
 * Reporting never waits and never decides anything about the job; it throws only for an event type that has no valid form.
 */

/** Progress is for eyes; more often than this is only work. */
const PROGRESS_EVERY_MS = 100
/** The contract allows 16 KiB a record, counted as shared/src/event.ts does. */
const EVENT_DATA_MAX = 16 * 1024

/** Absolute counters of the current phase; what is left out stays as it was. `table: undefined` says: between tables. */
interface ProgressUpdate {
  table?: string | undefined
  tablesDone?: number
  tablesTotal?: number
  rows?: number
  /** Uncompressed COPY text. */
  bytes?: number
  /** Expected bytes of this phase. */
  bytesTotal?: number
  /** Of the collection in work, whose alias is `table`. A smaller number than before begins the count, and its rate, anew. */
  documents?: number
  documentsTotal?: number
  /** Who keeps the job waiting; `undefined` when nobody does any more. Sent at once when it changes. */
  waitingFor?: 'Typesense' | undefined
}

export interface Reporter {
  /** Begins a phase: counters start at zero. Written down as the event `job.phase`. The one that goes on is not begun again. */
  phase(phase: Phase): void
  /** `type` as in `export.table-done`; `data` holds names and numbers, never rows, URLs or secrets. Default level info. */
  event(type: string, data?: JsonRecord, level?: Level): void
  progress(update: ProgressUpdate): void
}

export type ReportedEvent = Omit<AgentEvent, 'aseq'>

/** Where reports go: the terminal of a local run, the outbox of a remote one. Must neither throw nor wait. */
export interface ReportSink {
  phase(phase: Phase): void
  event(event: ReportedEvent): void
  progress(progress: Progress): void
}

export interface ReporterOptions {
  clock?: Clock
  redact?: Redact
}

/**
 * The rate is that of the last 5 seconds or so. The remaining time is that of the current phase, or of the collection in
 * work: its missing bytes or documents at the current rate; it is absent when there is no known size, nothing moves, or an
 * estimated size was too small.
 */
export function createReporter(sinks: readonly ReportSink[], options: ReporterOptions = {}): Reporter {
  const { clock = systemClock, redact = (text) => text } = options
  const startMs = clock.monotonicMs()
  let current: Phase = 'preflight'
  let hasBegun = false
  let counters = noCounters()
  let rate = createRate(startMs)
  let documentRate = createRate(startMs)
  let sentAtMs = Number.NEGATIVE_INFINITY
  let isUnsent = false

  const send = (): void => {
    if (!isUnsent) return
    const nowMs = clock.monotonicMs()
    sentAtMs = nowMs
    isUnsent = false
    const rates = { bytes: rate.perSecond(nowMs), documents: documentRate.perSecond(nowMs) }
    const progress = toProgress(current, counters, rates, (nowMs - startMs) / 1000, redact)
    for (const sink of sinks) sink.progress(progress)
  }
  const event: Reporter['event'] = (type, data = {}, level = 'info') => {
    send()
    const told: ReportedEvent = {
      type: agentEventSchema.shape.type.parse(type),
      level,
      at: clock.now().toISOString(),
      data: limit(redactRecord(data, redact)),
    }
    for (const sink of sinks) sink.event(told)
  }
  return {
    event,
    phase: (phase) => {
      if (hasBegun && phase === current) return
      send()
      hasBegun = true
      current = phase
      counters = noCounters()
      rate = createRate(clock.monotonicMs())
      documentRate = createRate(clock.monotonicMs())
      for (const sink of sinks) sink.phase(phase)
      event('job.phase', { phase })
      isUnsent = true
      send()
    },
    progress: (update) => {
      const isMilestone =
        (update.tablesDone !== undefined && update.tablesDone !== counters.tablesDone) ||
        ('waitingFor' in update && update.waitingFor !== counters.waitingFor)
      const nowMs = clock.monotonicMs()
      if ((update.documents ?? Number.POSITIVE_INFINITY) < (counters.documents ?? 0)) documentRate = createRate(nowMs)
      counters = { ...counters, ...update }
      rate.sample(nowMs, counters.bytes)
      documentRate.sample(nowMs, counters.documents ?? 0)
      isUnsent = true
      if (isMilestone || nowMs - sentAtMs >= PROGRESS_EVERY_MS) send()
    },
  }
}

type Counted = 'tablesDone' | 'tablesTotal' | 'rows' | 'bytes' | 'bytesTotal'
type Counters = ProgressUpdate & Required<Pick<ProgressUpdate, Counted>>

function noCounters(): Counters {
  return { tablesDone: 0, tablesTotal: 0, rows: 0, bytes: 0, bytesTotal: 0 }
}

function toProgress(
  phase: Phase,
  counters: Counters,
  rates: { bytes: number; documents: number },
  elapsedS: number,
  redact: Redact,
): Progress {
  const { table, tablesDone, tablesTotal, rows, bytes, bytesTotal, documents, documentsTotal, waitingFor } = counters
  const [missing, rate] =
    documents === undefined ? [bytesTotal - bytes, rates.bytes] : [(documentsTotal ?? 0) - documents, rates.documents]
  return {
    phase,
    ...(table === undefined ? {} : { table: redact(table) }),
    tables_done: tablesDone,
    tables_total: tablesTotal,
    rows,
    bytes,
    bytes_total: bytesTotal,
    bytes_per_second: Math.round(rates.bytes),
    ...(documents === undefined ? {} : { documents, documents_per_second: Math.round(rates.documents) }),
    ...(documentsTotal === undefined ? {} : { documents_total: documentsTotal }),
    ...(waitingFor === undefined ? {} : { waiting_for: waitingFor }),
    ...(missing > 0 && rate > 0 ? { eta_seconds: Math.round(missing / rate) } : {}),
    elapsed_seconds: Math.round(elapsedS * 10) / 10,
  }
}

/** A record that is too large is told of, not refused: its event matters more than its details. */
function limit(data: JsonRecord): JsonRecord {
  const size = JSON.stringify(data).length
  return size <= EVENT_DATA_MAX
    ? data
    : { too_large: size, fields: Object.keys(data).slice(0, 20).join(', ').slice(0, 500) }
}
