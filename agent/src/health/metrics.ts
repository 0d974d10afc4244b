import { readdir, stat } from 'node:fs/promises'
import { join } from 'node:path'
import type { Attributes, Meter } from '@opentelemetry/api'
import { PrometheusSerializer } from '@opentelemetry/exporter-prometheus'
import { MeterProvider, MetricReader } from '@opentelemetry/sdk-metrics'
import type { JobParams, Phase } from '@multiboard-sync/shared/job'
import { toSyncError } from '@multiboard-sync/shared/sync-error'
import { jobSuccesses } from '../journal/journal.ts'
import { log } from '../log.ts'
import { peakMemoryBytes } from '../peak-memory.ts'
import type { Lease } from '../report/lease.ts'
import type { AgentStatus } from './agent-status.ts'
import type { AgentWatch } from './agent-watch.ts'
import { isReady } from './heartbeat.ts'

/*
 * What the daemon counts, as OpenTelemetry's instruments, written down in Prometheus' text format when somebody asks. Labels
 * hold names of databases, kinds, phases and codes: never a table, a URL or a value. Counters begin at zero with the process;
 * the last successes are read from the journals, so that an alarm on their age outlives a restart.
 */

/** From a small table to a night: jobs and phases alike. */
const SECONDS_BUCKETS = [1, 5, 15, 60, 300, 900, 1800, 3600, 7200, 14_400, 43_200]
const PREFIX = 'multiboard_sync_'

class ReaderOnDemand extends MetricReader {
  protected override async onForceFlush(): Promise<void> {
    // Nothing is ever held back.
  }
  protected override async onShutdown(): Promise<void> {
    // Nothing is open.
  }
}

export interface Metrics {
  watch: AgentWatch
  /** Prometheus' text format 0.0.4. */
  read(): Promise<string>
}

export async function openMetrics(
  { agent, stateDir, version }: { agent: string; stateDir: string; version: string },
  status: AgentStatus,
): Promise<Metrics> {
  const reader = new ReaderOnDemand()
  const meter = new MeterProvider({ readers: [reader] }).getMeter('multiboard-sync')
  const serializer = new PrometheusSerializer(undefined, false, undefined, true, true)
  const successes = new Map<string, { labels: Attributes; atS: number }>()
  const noteSuccess = (params: JobParams, at: Date): void => {
    const labels = routeOf(params)
    const key = JSON.stringify(labels)
    const atS = at.getTime() / 1000
    if ((successes.get(key)?.atS ?? 0) < atS) successes.set(key, { labels, atS })
  }
  for (const { params, at } of await rememberedSuccesses(stateDir)) if (params.dry_run !== true) noteSuccess(params, at)
  let lease: Lease | undefined

  gauge(meter, 'info', 'Constant 1; its labels say who tells.', () => [[1, { agent, version }]])
  gauge(meter, 'ready', 'Whether GET /readyz answers 200.', () => [[Number(isReady(status.read())), {}]])
  gauge(meter, 'last_poll_timestamp_seconds', 'When the control plane last answered a poll.', () => {
    const { last_poll_ok_at: at } = status.read()
    return at === null ? [] : [[Date.parse(at) / 1000, {}]]
  })
  gauge(meter, 'last_success_timestamp_seconds', 'When a job of this kind on this way last succeeded.', () =>
    [...successes.values()].map(({ atS, labels }) => [atS, labels]),
  )
  gauge(meter, 'running_jobs', 'Jobs at work, with their phase.', () => {
    const { job } = status.read()
    return job ? [[1, { kind: job.kind, phase: job.phase }]] : [[0, {}]]
  })
  gauge(meter, 'job_stalled_seconds', 'How long nothing of the running job has moved.', () => {
    const { job } = status.read()
    return job ? [[Math.max(0, (Date.now() - Date.parse(job.moved_at)) / 1000), {}]] : []
  })
  gauge(
    meter,
    'lease_remaining_seconds',
    'How long the running job may change its target; 0 before its swap and when the lease is lost.',
    () => (lease ? [[lease.remainingMs() / 1000, {}]] : []),
  )
  gauge(meter, 'peak_memory_bytes', 'The most memory that this process has taken.', () => [[peakMemoryBytes(), {}]])
  gauge(meter, 'resident_memory_bytes', 'Memory that this process takes.', () => [[process.memoryUsage.rss(), {}]])
  outboxGauges(meter, stateDir)

  const polls = meter.createCounter(`${PREFIX}polls_total`, { description: 'Polls that the control plane answered.' })
  const failures = meter.createCounter(`${PREFIX}turn_failures_total`, {
    description: 'Turns of the loop that failed, as polls do, by code.',
  })
  const refusals = meter.createCounter(`${PREFIX}orders_refused_total`, {
    description: 'Orders that were refused before a job began, by code.',
  })
  const jobs = meter.createCounter(`${PREFIX}jobs_total`, { description: 'Jobs that ended, by kind and outcome.' })
  const rows = meter.createCounter(`${PREFIX}copied_rows_total`, { description: 'Rows that jobs have copied.' })
  const bytes = meter.createCounter(`${PREFIX}copied_bytes_total`, {
    description: 'What jobs have copied, in bytes of COPY text.',
  })
  const stale = meter.createCounter(`${PREFIX}stale_searches_total`, {
    description: 'Jobs that succeeded and left the search index behind the rows.',
  })
  const advice = { explicitBucketBoundaries: SECONDS_BUCKETS }
  const jobSeconds = meter.createHistogram(`${PREFIX}job_duration_seconds`, {
    description: 'How long jobs took, by kind and outcome.',
    advice,
  })
  const phaseSeconds = meter.createHistogram(`${PREFIX}phase_duration_seconds`, {
    description: 'How long the phases of jobs took.',
    advice,
  })
  // A counter that is there before it counts: a rate of nothing is 0, and not absent.
  polls.add(0)

  return {
    watch: {
      settling: () => undefined,
      polled: () => polls.add(1),
      failed: (code) => failures.add(1, { code }),
      orderRefused: (code) => refusals.add(1, { code }),
      draining: () => undefined,
      jobBegan: (job) => {
        lease = job.lease
        const timer = timePhases((phase, seconds) => phaseSeconds.record(seconds, { kind: job.params.kind, phase }))
        return {
          sinks: [{ phase: (phase) => timer.begin(phase), event: () => undefined, progress: () => undefined }],
          ended: (result) => {
            lease = undefined
            timer.end()
            const { kind } = job.params
            const { outcome } = result
            jobs.add(1, { kind, outcome })
            rows.add(result.rows, { kind })
            bytes.add(result.bytes, { kind })
            jobSeconds.record(result.seconds, { kind, outcome })
            if (outcome !== 'succeeded') return
            if (result.search?.state === 'stale') stale.add(1, { kind })
            if (job.params.dry_run !== true) noteSuccess(job.params, new Date())
          },
        }
      },
    },
    read: async () => {
      const { resourceMetrics, errors } = await reader.collect()
      if (errors.length > 0) throw errors[0]
      return serializer.serialize(resourceMetrics)
    },
  }
}

/** A journal that cannot be read keeps the daemon from polling, and settling tells so; here it only costs what is remembered. */
async function rememberedSuccesses(stateDir: string): ReturnType<typeof jobSuccesses> {
  try {
    return await jobSuccesses(stateDir)
  } catch (thrown) {
    log('warning', 'The last successes are not known: a journal cannot be read.', { code: toSyncError(thrown).code })
    return []
  }
}

type Observed = [value: number, labels: Attributes][]

function gauge(meter: Meter, name: string, description: string, look: () => Observed): void {
  meter.createObservableGauge(PREFIX + name, { description }).addCallback((observed) => {
    for (const [value, labels] of look()) observed.observe(value, labels)
  })
}

/** By the files themselves: what an earlier process has left is waited for as well. */
function outboxGauges(meter: Meter, stateDir: string): void {
  const files = meter.createObservableGauge(`${PREFIX}outbox_jobs`, {
    description: 'Jobs whose events or end the control plane has not acknowledged.',
  })
  const size = meter.createObservableGauge(`${PREFIX}outbox_bytes`, {
    description: 'What the outboxes of these jobs take on the disk.',
  })
  meter.addBatchObservableCallback(
    async (observed) => {
      const sizes = await outboxSizes(join(stateDir, 'outbox'))
      observed.observe(files, sizes.length)
      observed.observe(
        size,
        sizes.reduce((sum, bytes) => sum + bytes, 0),
      )
    },
    [files, size],
  )
}

async function outboxSizes(folder: string): Promise<number[]> {
  const isGone = (error: unknown): boolean => error instanceof Error && 'code' in error && error.code === 'ENOENT'
  const names = await readdir(folder).catch((error: unknown) => {
    if (isGone(error)) return []
    throw error
  })
  const sizes = names.map(async (name) => {
    try {
      return [(await stat(join(folder, name))).size]
    } catch (error) {
      // Acknowledged just now.
      if (isGone(error)) return []
      throw error
    }
  })
  return (await Promise.all(sizes)).flat()
}

function timePhases(tell: (phase: Phase, seconds: number) => void): { begin(phase: Phase): void; end(): void } {
  let current: { phase: Phase; sinceMs: number } | undefined
  const end = (): void => {
    if (current) tell(current.phase, (performance.now() - current.sinceMs) / 1000)
    current = undefined
  }
  return {
    begin: (phase) => {
      end()
      current = { phase, sinceMs: performance.now() }
    },
    end,
  }
}

/** Which way a job's rows went. An archive's id names the database that it is of. */
function routeOf(params: JobParams): { kind: string; source: string; target: string } {
  const { kind } = params
  switch (kind) {
    case 'sync':
      return { kind, source: params.source, target: params.target }
    case 'export':
    case 'reindex':
      return { kind, source: params.source, target: '' }
    case 'restore':
      return { kind, source: /^\d{8}T\d{6}Z-([a-z][a-z0-9_]*)-/.exec(params.archive)?.[1] ?? '', target: params.target }
    case 'undo':
      return { kind, source: '', target: params.target }
  }
}
