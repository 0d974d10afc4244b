import { setMaxListeners } from 'node:events'
import { z } from 'zod'
import { jobIdSchema } from '@multiboard-sync/shared/job'
import { ORDER_MAX_AGE_S, type Order } from '@multiboard-sync/shared/order'
import { SyncError, toSyncError } from '@multiboard-sync/shared/sync-error'
import { newFacts } from './context.ts'
import { notTaken, TELL_FOR_MS } from './finish-jobs.ts'
import { openJournal, readJournaled, readStarts } from './journal/journal.ts'
import { createTrace } from './lanes/trace.ts'
import { log } from './log.ts'
import type { AgentOptions } from './open-context.ts'
import { performJob } from './perform-job.ts'
import { keepCalling } from './poll/retry-delay.ts'
import { clipError } from './report/clip-error.ts'
import { openOutbox } from './report/outbox.ts'
import { createReporter } from './report/reporter.ts'
import { startUpload } from './report/upload.ts'
import type { SeenOrders } from './verify/seen-orders.ts'
import { verifyOrder } from './verify/verify-order.ts'

/** A job that has ended is told to a control plane that is away for so long after each signal; then the next boot does it. */
const TELL_AFTER_DRAINING_MS = 30_000
const TELL_AFTER_STOPPING_MS = 5_000
/** A refusal that is not heard leaves a lease that lapses by itself. */
const REFUSE_FOR_MS = 60_000

/** Verifies an order, refuses it or runs its job, and tells the control plane either way. */
export async function takeOrder(
  options: AgentOptions,
  seen: SeenOrders,
  token: string,
  serverDate: Date | undefined,
): Promise<void> {
  const { context, trust } = options.opened
  let order: Order
  try {
    order = await verifyOrder(token, {
      agent: context.agent,
      issuer: options.issuer,
      policy: context.policy,
      policySha256: context.policySha256,
      findKey: async (kid) => await trust.findOrderKey(kid, new Date()),
      serverDate,
      begun: await readStarts(context, new Date()),
      now: () => new Date(),
      seen,
      journaled: async (job) => await readJournaled(context.stateDir, job),
    })
  } catch (thrown) {
    await refuse(options, token, toSyncError(thrown))
    return
  }
  await runOrder(options, token, order)
}

/**
 * The job is in the journal before anything else happens, so that its end is told whenever this process ends: now, or by
 * the next boot; a disk that does not take that is a reason to refuse. It begins only when the control plane has heard that it was taken.
 */
async function runOrder(options: AgentOptions, token: string, order: Order): Promise<void> {
  const { opened, controlPlane, draining, stopping } = options
  const { context, redact } = opened
  const { id, epoch, fence } = order.job
  await using journal = await openJournal(context.stateDir, id)
  try {
    await journal.record('accepted', { params: order.params, epoch, fence, pid: process.pid })
  } catch (thrown) {
    await refuse(options, token, toSyncError(thrown))
    return
  }

  const stop = new AbortController()
  const cancel = (message: string): void =>
    stop.abort(new SyncError('canceled', message, { hint: 'The target is as it was.' }))
  using listening = new DisposableStack()
  const onStopping = (): void => cancel('The agent was stopped.')
  if (stopping.aborted) onStopping()
  stopping.addEventListener('abort', onStopping, { once: true })
  listening.defer(() => stopping.removeEventListener('abort', onStopping))
  // Every stream and session of a job listens to this one signal.
  setMaxListeners(0, stop.signal)

  await begin(options, order, stop)
  await using handle = startUpload({
    controlPlane,
    job: id,
    epoch,
    outbox: openOutbox({ stateDir: context.stateDir, job: id, epoch }),
    caller: controlPlane.caller,
    // The upload outlives the job's signal: a stopped job has things to tell.
    signal: new AbortController().signal,
    onCancel: () => cancel('The job was canceled.'),
    onLost: (error) => stop.abort(error),
    onTrouble: (error) => log('warning', error.message, { job: id, code: error.code, hint: error.hint }),
    redact,
  })
  const watched = options.watch?.jobBegan({ id, params: order.params, lease: handle.lease })
  const result = await performJob(
    context,
    { id, epoch, fence, params: order.params },
    {
      reporter: createReporter([handle.sink, ...(watched?.sinks ?? [])], { redact }),
      lease: handle.lease,
      journal,
      signal: stop.signal,
      trace: createTrace(),
      dryRun: order.params.dry_run ?? false,
      facts: newFacts(),
    },
  )
  watched?.ended(result)
  await journal.record('finished', { result })
  log('info', 'A job has ended.', { job: id, outcome: result.outcome, target_state: result.target_state })
  using patience = tellUntil(draining, stopping, options.tellForMs)
  await tellEnd(handle.complete(result, patience.signal), id)
}

/**
 * Tells that the order was taken, again and again until it has expired: a job that nobody knows to be at work must not
 * begin. When that fails the job is stopped before its first step, and ends like any other: in the journal, and told.
 */
async function begin({ controlPlane, draining }: AgentOptions, order: Order, stop: AbortController): Promise<void> {
  const leftMs = order.exp * 1000 - Date.now()
  const expired = AbortSignal.timeout(Math.max(0, Math.min(leftMs, ORDER_MAX_AGE_S * 1000)))
  const signal = AbortSignal.any([draining, expired, stop.signal])
  const { id, epoch } = order.job
  try {
    const accept = async () => await controlPlane.accept(id, { epoch, verdict: 'accepted' }, signal)
    await keepCalling({ signal, isPassing }, accept)
    // The timer stands still while a machine is suspended; the time of day does not.
    if (Date.now() >= order.exp * 1000) stop.abort(notHeard())
  } catch (thrown) {
    stop.abort(expired.aborted ? notHeard(thrown) : toSyncError(thrown))
  }
}

/**
 * What may pass before an order expires: also a clock that jumped, which makes every signature look wrong, and a code that
 * this agent does not know, which a newer control plane may use for anything.
 */
function isPassing({ code, retryable }: SyncError): boolean {
  return retryable || code === 'unauthorized' || code === 'control-plane-refused'
}

function notHeard(cause?: unknown): SyncError {
  return new SyncError(
    'control-plane-unreachable',
    'The order expired before the control plane heard that it was taken.',
    {
      hint: 'Nothing was begun. Check the connection between agent and control plane, then ask for the job again.',
      cause,
    },
  )
}

/** Ends some time after a stop was asked for, counted from the stop or, where it came earlier, from now; and after `tellForMs`. */
function tellUntil(
  draining: AbortSignal,
  stopping: AbortSignal,
  tellForMs: number = TELL_FOR_MS,
): Disposable & { signal: AbortSignal } {
  const late = new AbortController()
  const owned = new DisposableStack()
  const timer = setTimeout(() => late.abort(notTaken()), tellForMs)
  owned.defer(() => clearTimeout(timer))
  const limit = (signal: AbortSignal, afterMs: number): void => {
    const start = (): void => {
      const timer = setTimeout(() => late.abort(signal.reason), afterMs)
      owned.defer(() => clearTimeout(timer))
    }
    if (signal.aborted) return start()
    signal.addEventListener('abort', start, { once: true })
    owned.defer(() => signal.removeEventListener('abort', start))
  }
  limit(draining, TELL_AFTER_DRAINING_MS)
  limit(stopping, TELL_AFTER_STOPPING_MS)
  return { signal: late.signal, [Symbol.dispose]: () => owned.dispose() }
}

/** A job that the control plane has given up is ended all the same; anything else goes on being told at the next boot. */
async function tellEnd(completion: Promise<string>, job: string): Promise<void> {
  try {
    await completion
  } catch (thrown) {
    const error = toSyncError(thrown)
    log('warning', "The job's end was not taken by the control plane.", { job, code: error.code, hint: error.hint })
  }
}

const peekSchema = z.object({ job: z.object({ id: jobIdSchema, epoch: z.int().positive() }) })

/** Refusing needs a job's name, which an order that cannot be trusted gives all the same: nothing else is taken from it. */
async function refuse(options: AgentOptions, token: string, error: SyncError): Promise<void> {
  const { code, message, hint } = clipError(error)
  log('error', message, { code, hint })
  options.watch?.orderRefused(code)
  const peeked = peekSchema.safeParse(peek(token))
  if (!peeked.success) return
  const { id, epoch } = peeked.data.job
  const signal = AbortSignal.any([options.draining, AbortSignal.timeout(REFUSE_FOR_MS)])
  const refused = { epoch, verdict: 'refused', code, message, hint } as const
  await keepCalling({ signal, isPassing }, async () => await options.controlPlane.accept(id, refused, signal))
}

function peek(token: string): unknown {
  try {
    return JSON.parse(Buffer.from(token.split('.')[1] ?? '', 'base64url').toString('utf8'))
  } catch {
    return undefined
  }
}
