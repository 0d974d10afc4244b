import { readFinished } from './journal/journal.ts'
import { log } from './log.ts'
import type { OpenedContext } from './open-context.ts'
import type { ControlPlane } from './poll/control-plane-client.ts'
import { listOutboxes, openOutbox } from './report/outbox.ts'
import { startUpload } from './report/upload.ts'
import { toSyncError } from '@multiboard-sync/shared/sync-error'

/**
 * Tells the control plane the end of every job whose outbox is still there: those settled at this boot, and those whose
 * completion was never acknowledged. Their events arrive first, in order. Jobs without an end are left alone.
 */
export async function finishJobs(
  { context, redact }: OpenedContext,
  controlPlane: ControlPlane,
  signal: AbortSignal,
): Promise<void> {
  for (const { job, epoch } of await listOutboxes(context.stateDir)) {
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
    try {
      await upload.complete(result, signal)
    } catch (thrown) {
      // Stopped in the middle: the next boot goes on.
      signal.throwIfAborted()
      const error = toSyncError(thrown)
      if (error.retryable) throw error
      // The control plane has given the job up for good: there is nobody left to tell.
      log('warning', "A job's end was not taken by the control plane.", { job, code: error.code })
      await outbox.remove()
    }
  }
}
