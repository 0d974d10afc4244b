import { once } from 'node:events'
import { BATCH_MAX_BYTES, BATCH_MAX_EVENTS, type JobResult } from '@multiboard-sync/shared/protocol'
import type { Progress } from '@multiboard-sync/shared/event'
import { phaseSchema, type Phase } from '@multiboard-sync/shared/job'
import { isTooLateToCancel } from '@multiboard-sync/shared/job-state'
import { SyncError, toSyncError, type SyncErrorCode } from '@multiboard-sync/shared/sync-error'
import type { ControlPlane } from '../poll/control-plane-client.ts'
import { ControlPlaneError } from '../poll/control-plane-error.ts'
import { retryDelayMs } from '../poll/retry-delay.ts'
import { systemClock, type Clock } from './clock.ts'
import { keepLease } from './keep-lease.ts'
import { openLeaseMemory, renewEveryMs } from './lease-memory.ts'
import type { Caller } from './lease-messages.ts'
import { createLease, type Lease } from './lease.ts'
import type { Outbox } from './outbox.ts'
import type { Redact } from './redact.ts'
import type { ReportSink } from './reporter.ts'
import { createStallWatch, type StallNews } from './stall-watch.ts'

/*
 * Keeps the control plane informed of one running job, and the job in possession of its lease. One request at a time:
 * at once when the phase changes, else at most one per `next_batch_ms` while there is news, and one every 20 s when there
 * is none. Events leave in order, each until it is acknowledged. A control plane that is away does not disturb the job:
 * the requests are tried again for ever, the events wait in the outbox; only the lease runs out, and whoever wants to
 * change a target asks the lease first. For that, only a renewal counts that told the phase swapping or a later one and was
 * not answered with a cancel: the control plane knows then that the target may change, and cancels the job no more. It never ends a job by itself: it tells `onCancel` and `onLost`.
 */

const RENEW_JITTER = 0.1
/** Until the first reply says otherwise. */
const FIRST_BATCH_EVERY_MS = 2_000
/** Room for the other fields of a report. */
const BATCH_EVENT_BYTES = BATCH_MAX_BYTES - 8 * 1024

/** So many times in a row must the same events be refused before the end of the job is told without them. */
const REFUSALS_MAX = 5

/** What the control plane says when this job is not ours any more; nothing that we could do later changes it. */
const LOST_CODES: ReadonlySet<SyncErrorCode> = new Set([
  'stale-epoch',
  'fence-superseded',
  'job-finished',
  'not-found',
  'agent-revoked',
])

export interface UploadOptions {
  controlPlane: ControlPlane
  job: string
  epoch: number
  outbox: Outbox
  /** Ends the upload itself, when the agent shuts down. Not the job's signal: a stopped job has things to tell. */
  signal: AbortSignal
  /** Told once when somebody asked to cancel the job. */
  onCancel(): void
  /** Told once when the job is not this agent's any more: stop it with this error. */
  onLost(error: SyncError): void
  /** Told of the first failure in a row, for the agent's own log; it goes on trying. */
  onTrouble?(error: SyncError): void
  /** A second thread renews the lease in this one's name when this one is too busy. Absent: there is none. */
  caller?: (() => Promise<Caller>) | undefined
  clock?: Clock
  random?: () => number
  /** Tests put their own in. */
  startThread?: typeof keepLease
  /** For the result's texts; events were redacted by the reporter. */
  redact?: Redact
}

export interface UploadHandle extends AsyncDisposable {
  sink: ReportSink
  lease: Lease
  /** Resolves when every event reported so far is acknowledged. Rejects when they are refused or the signal aborts. */
  flush(signal: AbortSignal): Promise<void>
  /**
   * Tells the job's end until the control plane has taken it, and removes the outbox; returns the final state. Rejects
   * with what the control plane says when it refuses for good (`stale-epoch`, `job-finished`, `not-found`, ...).
   */
  complete(result: JobResult, signal: AbortSignal): Promise<string>
}

export function startUpload(options: UploadOptions): UploadHandle {
  const {
    controlPlane,
    job,
    epoch,
    outbox,
    clock = systemClock,
    random = Math.random,
    startThread = keepLease,
  } = options
  const ended = new AbortController()
  const stop = AbortSignal.any([options.signal, ended.signal])

  let phase: Phase = 'preflight'
  let progress: Progress | undefined
  let sentAtMs = Number.NEGATIVE_INFINITY
  let batchEveryMs = FIRST_BATCH_EVERY_MS
  let renewJitter = 1
  let leaseMs = Number.POSITIVE_INFINITY
  /** The control plane wants to hear from a silent job this often, because somebody is there who may cancel it. */
  let askedEveryMs = Number.POSITIVE_INFINITY
  /** After a failure nothing is sent before this time. */
  let notBeforeMs = Number.NEGATIVE_INFINITY
  let failures = 0
  /** Refusals in a row that waiting does not heal: the control plane does not understand these events. */
  let refusals = 0
  let refusedBy: SyncError | undefined
  let isUrgent = true
  let hasNewProgress = false
  let flushing = 0
  let isCancelTold = false
  let lostBy: SyncError | undefined
  let changed = Promise.withResolvers<void>()
  let nap = new AbortController()

  const wake = (): void => nap.abort()
  const reportNow = (): void => {
    isUrgent = true
    wake()
  }
  const memory = openLeaseMemory(clock)
  const keeper = createLease(clock, reportNow, memory)
  const stall = createStallWatch(clock.monotonicMs())
  memory.noteMovement()
  const tellStall = (news: StallNews | undefined): void => {
    if (news) outbox.append({ ...news, at: clock.now().toISOString() })
  }
  const moved = (waitingFor?: string): void => {
    memory.noteMovement()
    tellStall(stall.moved(clock.monotonicMs(), phase, waitingFor))
  }
  const announce = (): void => {
    changed.resolve()
    changed = Promise.withResolvers()
  }
  const lose = (error: SyncError): void => {
    if (lostBy) return
    lostBy = error
    keeper.lost(error)
    announce()
    options.onLost(error)
  }

  const cancelOnce = (): void => {
    if (isCancelTold) return
    isCancelTold = true
    options.onCancel()
  }
  const thread =
    options.caller &&
    startThread({
      caller: options.caller,
      job,
      epoch,
      memory,
      onRenewed: (news) => {
        keeper.renewedElsewhere()
        if (news.cancel) cancelOnce()
        // What it told was current when it asked, and may have overtaken what we have told since.
        if (news.phase !== phase) reportNow()
      },
      onRefused: reportNow,
      onEnd: (error) => options.onTrouble?.(error),
    })

  // Reports and the completion never overtake each other: one of them at a time.
  let turn: Promise<unknown> = Promise.resolve()
  const inTurn = async <T>(send: () => Promise<T>): Promise<T> => {
    const sent = turn.then(send)
    turn = sent.catch(() => undefined)
    return await sent
  }

  const dueInMs = (): number => {
    const nowMs = clock.monotonicMs()
    const hasEvents = outbox.lastAseq > outbox.ackedAseq
    if (isUrgent || (flushing > 0 && hasEvents)) return notBeforeMs - nowMs
    const silentMs = Math.min(renewEveryMs(leaseMs) * renewJitter, askedEveryMs)
    const everyMs = hasEvents || hasNewProgress ? batchEveryMs : silentMs
    return Math.max(notBeforeMs, sentAtMs + everyMs) - nowMs
  }

  const report = async (): Promise<void> => {
    if (stop.aborted || lostBy) return
    isUrgent = false
    hasNewProgress = false
    const sent = keeper.stamp()
    sentAtMs = sent.monotonicMs
    renewJitter = 1 + RENEW_JITTER * (2 * random() - 1)
    const ackedBefore = outbox.ackedAseq
    tellStall(stall.look(sent.monotonicMs, progress))
    try {
      await outbox.sync()
      const events = outbox.unacked(BATCH_MAX_EVENTS, BATCH_EVENT_BYTES)
      const body = {
        epoch,
        phase,
        stalled_ms: stall.stalledMs(sent.monotonicMs),
        ...(progress ? { progress } : {}),
        events,
      }
      const { reply } = await controlPlane.report(job, body, stop)
      failures = 0
      refusals = 0
      refusedBy = undefined
      batchEveryMs = reply.next_batch_ms
      leaseMs = reply.lease_ms
      askedEveryMs = reply.renew_after_ms ?? Number.POSITIVE_INFINITY
      if (reply.cancel) cancelOnce()
      else if (isTooLateToCancel(body.phase)) keeper.renewed(sent, leaseMs)
      memory.noteRenewal(sent, leaseMs)
      outbox.ack(reply.ack_aseq)
      // A control plane that takes none of what it was given is not asked again at once.
      notBeforeMs =
        events.length > 0 && reply.ack_aseq <= ackedBefore ? sentAtMs + batchEveryMs : Number.NEGATIVE_INFINITY
    } catch (thrown) {
      if (stop.aborted) return
      takeFailure(toSyncError(thrown))
    }
    announce()
  }

  const takeFailure = (error: SyncError): void => {
    if (LOST_CODES.has(error.code)) {
      lose(error)
      return
    }
    if (error instanceof ControlPlaneError && error.code === 'event-gap' && error.ackAseq !== undefined) {
      outbox.ack(error.ackAseq)
    }
    // Anything else, also a refusal we do not know, leaves the job alone: without a renewal its lease runs out by itself.
    const isRefusal = !error.retryable && error.code !== 'unauthorized' && error.code !== 'event-gap'
    refusals = isRefusal ? refusals + 1 : 0
    refusedBy = refusals >= REFUSALS_MAX ? error : undefined
    failures += 1
    if (failures === 1) options.onTrouble?.(error)
    isUrgent = true
    notBeforeMs = clock.monotonicMs() + retryDelayMs(error, failures, random)
  }

  const run = async (): Promise<void> => {
    while (!stop.aborted && !lostBy) {
      const waitMs = dueInMs()
      if (waitMs <= 0) {
        await inTurn(report)
        continue
      }
      nap = new AbortController()
      await clock.sleep(waitMs, AbortSignal.any([stop, nap.signal])).catch(() => undefined)
    }
  }
  const running = run().catch((thrown: unknown) => lose(toSyncError(thrown)))

  const flush = async (signal: AbortSignal): Promise<void> => {
    const either = AbortSignal.any([stop, signal])
    outbox.noteDropped()
    const upTo = outbox.lastAseq
    flushing += 1
    wake()
    try {
      while (outbox.ackedAseq < upTo) {
        either.throwIfAborted()
        const stuckBy = lostBy ?? refusedBy
        if (stuckBy) throw stuckBy
        await orAborted(changed.promise, either)
      }
    } finally {
      flushing -= 1
    }
  }

  const complete = async (result: JobResult, signal: AbortSignal): Promise<string> => {
    const either = AbortSignal.any([stop, signal])
    const clean = redactResult(result, options.redact)
    // What is left to do is done by this thread, and nothing of it is heavy.
    await thread?.[Symbol.asyncDispose]()
    for (let attempts = 1; ; attempts += 1) {
      // A job that takes no more events still takes its end: the agent knows the truth about the target and tells it.
      let isStuck = lostBy !== undefined
      try {
        if (!isStuck) await flush(signal)
      } catch (error) {
        isStuck = error === lostBy || error === refusedBy
        if (!isStuck) throw error
      }
      either.throwIfAborted()
      let delayMs = batchEveryMs
      try {
        const last_aseq = isStuck ? outbox.ackedAseq : outbox.lastAseq
        const { reply, status } = await inTurn(async () => {
          const answer = await controlPlane.complete(job, { epoch, result: clean, last_aseq }, either)
          if (answer.status !== 202) ended.abort()
          return answer
        })
        if (status !== 202) {
          await running
          await outbox.remove()
          return reply.state
        }
        outbox.ack(reply.ack_aseq)
        if (isStuck) throw lostBy ?? refusedBy ?? new SyncError('event-gap', 'The control plane misses events.')
      } catch (thrown) {
        signal.throwIfAborted()
        const error = toSyncError(thrown)
        // A clock or a key that is not right yet may be put right; the end of the job is worth waiting for.
        if (!error.retryable && error.code !== 'unauthorized') {
          // Revoked by mistake it may be let in again, and then the end is still to be told.
          if (LOST_CODES.has(error.code) && error.code !== 'agent-revoked') await outbox.remove()
          throw thrown
        }
        if (attempts === 1) options.onTrouble?.(error)
        delayMs = retryDelayMs(error, attempts, random)
      }
      if (attempts > 1 || isStuck || outbox.ackedAseq >= outbox.lastAseq) await clock.sleep(delayMs, either)
    }
  }

  return {
    sink: {
      phase: (next) => {
        phase = next
        memory.setPhase(phaseSchema.options.indexOf(next))
        moved()
        reportNow()
      },
      event: (event) => {
        moved(event.type === 'lock.waiting' ? 'lock' : undefined)
        outbox.append(event)
        wake()
      },
      progress: (next) => {
        if (hasMoved(progress, next)) moved()
        progress = next
        hasNewProgress = true
        wake()
      },
    },
    lease: keeper.lease,
    flush,
    complete,
    [Symbol.asyncDispose]: async () => {
      ended.abort(new SyncError('lease-lost', 'The upload of this job has ended.'))
      await thread?.[Symbol.asyncDispose]()
      await running
      outbox.close()
    },
  }
}

/** Resolves with the promise or when the signal aborts, whichever is first. */
async function orAborted(promise: Promise<void>, signal: AbortSignal): Promise<void> {
  const done = new AbortController()
  try {
    await Promise.race([promise, once(signal, 'abort', { signal: done.signal })])
  } finally {
    done.abort()
  }
}

function hasMoved(before: Progress | undefined, now: Progress): boolean {
  return (
    before?.bytes !== now.bytes ||
    before.documents !== now.documents ||
    before.waiting_for !== now.waiting_for ||
    before.table !== now.table ||
    before.rows !== now.rows ||
    before.tables_done !== now.tables_done ||
    before.phase !== now.phase
  )
}

function redactResult(result: JobResult, redact: Redact | undefined): JobResult {
  if (!redact) return result
  const { message, hint, details } = result
  return {
    ...result,
    ...(message === undefined ? {} : { message: redact(message) }),
    ...(hint === undefined ? {} : { hint: redact(hint) }),
    ...(details === undefined ? {} : { details: details.map(redact) }),
  }
}
