import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { jobIdSchema } from '@multiboard-sync/shared/job'

/** A job whose completion the control plane has not acknowledged: its outbox is still there. */
export interface PendingOutbox {
  job: string
  epoch: number
}

/** The outboxes that earlier processes left in `<stateDir>/outbox`, for the next boot to deliver. */
export async function pendingOutboxes(stateDir: string): Promise<PendingOutbox[]> {
  let names: string[]
  try {
    names = await readdir(join(stateDir, 'outbox'))
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return []
    throw error
  }
  return names.flatMap((name) => {
    const [, job, epoch] = /^(j\w+)-(\d+)\.jsonl$/.exec(name) ?? []
    return job && jobIdSchema.safeParse(job).success ? [{ job, epoch: Number(epoch) }] : []
  })
}
