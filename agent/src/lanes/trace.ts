/** What a lane may be busy with. `phase` is the job's own, on lane 0. */
export type WorkKind = 'phase' | 'copy' | 'backup' | 'checksum' | 'index' | 'key' | 'analyze'

/** One piece of work: on which lane, from when to when, in milliseconds since the trace began. */
export interface Span {
  lane: number
  kind: WorkKind
  name: string
  begin_ms: number
  end_ms: number
  failed?: true
}

/** What ran when, on which lane: for people who look for the critical path. Names and times, never values. */
export interface Trace {
  /** Call what it answers at the end; only the first call counts. */
  begin(lane: number, kind: WorkKind, name: string): (how: 'ended' | 'failed') => void
  /** In the order of their beginnings; those that have not ended last until now. */
  spans(): Span[]
}

/** Some 3 MB of JSON; a database of thousands of tables keeps the beginning of its job. */
const MAX_SPANS = 20_000

export function createTrace(nowMs: () => number = () => performance.now()): Trace {
  const startMs = nowMs()
  const spans: (Omit<Span, 'end_ms'> & { end_ms?: number })[] = []
  const elapsed = (): number => Math.round(nowMs() - startMs)
  return {
    begin(lane, kind, name) {
      const span: (typeof spans)[number] = { lane, kind, name, begin_ms: elapsed() }
      if (spans.length < MAX_SPANS) spans.push(span)
      return (how) => {
        if (span.end_ms !== undefined) return
        span.end_ms = elapsed()
        if (how === 'failed') span.failed = true
      }
    },
    spans: () => spans.map((span) => ({ ...span, end_ms: span.end_ms ?? elapsed() })),
  }
}
