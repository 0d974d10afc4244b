import { readFinished } from './journal/journal.ts'
import { log } from './log.ts'
import type { OpenedContext } from './open-context.ts'
import type { ControlPlane } from './poll/control-plane-client.ts'
import { listOutboxes, openOutbox } from './report/outbox.ts'
import { startUpload } from './report/upload.ts'
import { SyncError, toSyncError } from '@multiboard-sync/shared/sync-error'

// An end that was refused for a reason we do not understand is told again, but not at every poll.
const FIRST_DELAY_MS = 5_000
const MAX_DELAY_MS = 300_000

/**
 * What is wrong with telling one end alone, as a proxy to which it is too large, must not keep the agent from polling.
 * Long enough for a full outbox and a control plane that starts cold.
 */
export const TELL_FOR_MS = 120_000

/** The ends that were refused: how often, and when they are told again (performance.now()). */
export type RefusedEnds = Map<string, { times: number; againAtMs: number }>

/**
 * Tells the control plane the end of every job whose outbox is still there: those settled at this boot, and those whose
 * completion was never acknowledged. Their events arrive first, in order. Jobs without an end are left alone. Where the
 * control plane says that the job is not ours any more, nobody is left to tell; any other refusal, also with a code that
 * nobody knows here, may pass: the end is kept and told again later, and meanwhile polling goes on.
 */
export async function finishJobs(
  { context, redact }: OpenedContext,
  controlPlane: ControlPlane,
  refusedEnds: RefusedEnds,
  signal: AbortSignal,
  tellForMs: number = TELL_FOR_MS,
): Promise<void> {
  for (const { job, epoch } of await listOutboxes(context.stateDir)) {
    const refused = refusedEnds.get(job)
    if (refused && performance.now() < refused.againAtMs) continue
    const result = await readFinished(context.stateDir, job)
    if (!result) continue
    const outbox = openOutbox({ stateDir: context.stateDir, job, epoch })
    await using upload = startUpload({
      controlPlane,
      job,
      epoch,
      outbox,
      signal,
      onCancel: () => log('info', 'A job that has ended was asked to cancel.', { job }),
      onLost: (error) => log('warning', error.message, { job, code: error.code }),
      onTrouble: (error) => log('warning', error.message, { job, code: error.code, hint: error.hint }),
      redact,
    })
    const late = AbortSignal.timeout(tellForMs)
    try {
      await upload.complete(result, AbortSignal.any([signal, late]))
      refusedEnds.delete(job)
    } catch (thrown) {
      // Stopped in the middle: the next boot goes on.
      signal.throwIfAborted()
      const error = late.aborted ? notTaken() : toSyncError(thrown)
      if (error.retryable && !late.aborted) throw error
      const times = (refused?.times ?? 0) + 1
      const delayMs = Math.min(MAX_DELAY_MS, FIRST_DELAY_MS * 2 ** (times - 1))
      refusedEnds.set(job, { times, againAtMs: performance.now() + delayMs })
      const { code, hint, details } = error
      log('warning', "A job's end was not taken by the control plane.", { job, code, hint, details })
    }
  }
}

/** The end of a job was told long enough for now. */
export function notTaken(): SyncError {
  return new SyncError('control-plane-unreachable', "The control plane has not taken the job's end in time.", {
    hint: 'It is kept and told again between polls. Look at what stands in front of the control plane: it must let 4 MiB pass.',
    retryable: true,
  })
}
