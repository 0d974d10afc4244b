import { randomUUID } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import { viewPolicy } from '@multiboard-sync/shared/policy-view'
import type { PollRequest } from '@multiboard-sync/shared/protocol'
import { toSyncError } from '@multiboard-sync/shared/sync-error'
import { finishJobs, type RefusedEnds } from './finish-jobs.ts'
import { log } from './log.ts'
import type { AgentOptions, OpenedContext } from './open-context.ts'
import { retryDelayMs } from './poll/retry-delay.ts'
import type { Settings } from './reload-settings.ts'
import { publishCatalogue } from './publish-catalogue.ts'
import { settleUnfinished } from './settle-unfinished.ts'
import { takeOrder } from './take-order.ts'
import { openSeenOrders } from './verify/seen-orders.ts'

/** Polls may come this much earlier or later, so that agents do not come in step. */
const POLL_JITTER = 0.2

/**
 * The agent: settle what a crash left, then poll, take an order, run it, and poll again. It only ever calls out.
 * Ends when `draining` is aborted and no job runs. A control plane that is away is asked again for ever.
 * An order is judged by the trust file and the policy as they are when it arrives, and its job keeps these to its end.
 */
export async function runAgent(options: Omit<AgentOptions, 'opened'> & { settings: Settings }): Promise<void> {
  const { settings, controlPlane, draining, stopping, watch, bootId = randomUUID() } = options
  const { context: first } = await settings.current()
  await using seen = await openSeenOrders(first.stateDir)
  draining.addEventListener('abort', () => {
    log('info', 'Stopping: no new job begins. A second signal cancels a running one.')
    watch?.draining()
  })
  const refusedEnds: RefusedEnds = new Map()
  let failures = 0
  let isSettled = false
  let isPublished = false
  while (!draining.aborted) {
    let waitMs: number
    const reloaded = settings.reloaded()
    try {
      const opened = await settings.current()
      if (!isSettled) {
        watch?.settling()
        await settleUnfinished(opened.context, draining)
        isSettled = true
      }
      await finishJobs(opened, controlPlane, refusedEnds, draining, options.tellForMs)
      const { reply, serverDate } = await controlPlane.poll(await pollRequest(opened, bootId), stopping)
      failures = 0
      watch?.polled()
      // The first signal is enough: what is not published now is published by the next boot.
      if (!isPublished) isPublished = await publishCatalogue(opened.context, controlPlane, draining)
      if (reply.order !== undefined) {
        // Should it throw, a job may be without an end in its journal, as after a crash.
        isSettled = false
        await takeOrder({ ...options, opened: await settings.current() }, seen, reply.order, serverDate)
        isSettled = true
        continue
      }
      waitMs = reply.poll_after_ms * (1 - POLL_JITTER + 2 * POLL_JITTER * Math.random())
    } catch (thrown) {
      if (draining.aborted) break
      const error = toSyncError(thrown)
      failures += 1
      // Who does not know us may have lost everything, and be told of the archives anew once it knows us again.
      if (error.code === 'unauthorized') isPublished = false
      watch?.failed(error.code)
      waitMs = retryDelayMs(error, failures)
      log('warning', error.message, { code: error.code, hint: error.hint, again_in_ms: waitMs })
    }
    const awake = AbortSignal.any([draining, reloaded])
    await sleep(waitMs, undefined, { signal: awake }).catch(() => undefined)
    // A control plane that was set back to a backup knows us, and not the archives since: SIGHUP tells it those, too.
    if (reloaded.aborted) isPublished = false
  }
}

/** As many as a poll may name. The youngest are at the end of the file. */
const KIDS_MAX = 32

async function pollRequest({ context, trust }: OpenedContext, bootId: string): Promise<PollRequest> {
  const { policy, policySha256, version } = context
  const databases = Object.entries(policy.databases).map(([name, { role, protected: isProtected }]) => ({
    name,
    role,
    protected: isProtected,
  }))
  return {
    version,
    boot_id: bootId,
    policy: viewPolicy(policy),
    policy_sha256: policySha256,
    trusted_kids: (await validKids(trust)).slice(-KIDS_MAX),
    databases,
    running: [],
  }
}

/** Those that an order may be signed with now: what has expired is not trusted. */
async function validKids(trust: OpenedContext['trust']): Promise<string[]> {
  const now = new Date()
  const kids = trust.orderKids().map(async (kid) => ((await trust.findOrderKey(kid, now)) ? [kid] : []))
  return (await Promise.all(kids)).flat()
}
