import { setMaxListeners } from 'node:events'
import { z } from 'zod'
import { jobIdSchema } from '@multiboard-sync/shared/job'
import type { Order } from '@multiboard-sync/shared/order'
import { SyncError, toSyncError } from '@multiboard-sync/shared/sync-error'
import { newFacts, type Job } from './context.ts'
import { openJournal } from './journal/journal.ts'
import { log } from './log.ts'
import type { AgentOptions } from './open-context.ts'
import { performJob } from './perform-job.ts'
import { openOutbox } from './report/outbox.ts'
import { createReporter } from './report/reporter.ts'
import { startUpload } from './report/upload.ts'
import type { SeenOrders } from './verify/seen-orders.ts'
import { verifyOrder } from './verify/verify-order.ts'

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
      now: () => new Date(),
      seen,
    })
  } catch (thrown) {
    await refuse(options, token, toSyncError(thrown))
    return
  }
  await seen.remember(order)
  await runOrder(options, order)
}

async function runOrder(options: AgentOptions, order: Order): Promise<void> {
  const { opened, controlPlane, stopping } = options
  const { context, redact } = opened
  const { id, epoch, fence } = order.job
  const job: Job = { id, epoch, fence, params: order.params }
  await using journal = await openJournal(context.stateDir, id)
  await journal.record('accepted', { params: order.params, epoch, fence, pid: process.pid })
  await controlPlane.accept(id, { epoch, verdict: 'accepted' }, stopping)

  const stop = new AbortController()
  const cancel = (message: string): void =>
    stop.abort(new SyncError('canceled', message, { hint: 'The target is as it was.' }))
  stopping.addEventListener('abort', () => cancel('The agent was stopped.'), { once: true })
  // Every stream and session of a job listens to this one signal.
  setMaxListeners(0, stop.signal)
  // The upload outlives the job's signal: a stopped job has things to tell.
  const upload = new AbortController()
  await using handle = startUpload({
    controlPlane,
    job: id,
    epoch,
    outbox: openOutbox({ stateDir: context.stateDir, job: id, epoch }),
    signal: upload.signal,
    onCancel: () => cancel('The job was canceled.'),
    onLost: (error) => stop.abort(error),
    redact,
  })
  const reporter = createReporter([handle.sink], { redact })
  const result = await performJob(context, job, {
    reporter,
    lease: handle.lease,
    journal,
    signal: stop.signal,
    dryRun: false,
    facts: newFacts(),
  })
  await journal.record('finished', { result })
  log('info', 'A job has ended.', { job: id, outcome: result.outcome, target_state: result.target_state })
  await tellEnd(handle.complete(result, AbortSignal.any([upload.signal, stopping])), id)
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
  const { code, message, hint } = error
  log('error', message, { code, hint })
  const peeked = peekSchema.safeParse(peek(token))
  if (!peeked.success) return
  const { id, epoch } = peeked.data.job
  await options.controlPlane.accept(id, { epoch, verdict: 'refused', code, message, hint }, options.stopping)
}

function peek(token: string): unknown {
  try {
    return JSON.parse(Buffer.from(token.split('.')[1] ?? '', 'base64url').toString('utf8'))
  } catch {
    return undefined
  }
}
