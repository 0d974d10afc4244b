import { rename, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { z } from 'zod'
import { jobIdSchema } from '@multiboard-sync/shared/job'
import type { Order } from '@multiboard-sync/shared/order'
import { openJsonLines, readJsonLines, syncFolder } from '../journal/json-lines.ts'

/*
 * Remembers which orders this agent has taken, so that none runs twice: the jti of each until it has surely expired, and
 * per job the newest epoch for ever. It never forgets an epoch and never counts an order as remembered before the disk
 * has it.
 */

/** An expired order is refused for its time; the hour more forgives a clock that was set back. */
const KEEP_AFTER_EXPIRY_S = 3600

const seenOrderSchema = z.strictObject({
  job: jobIdSchema,
  epoch: z.int().positive(),
  /** Absent once the order has expired: what stays is the epoch mark. */
  jti: z.string().optional(),
  exp: z.int().optional(),
})
type SeenOrder = z.infer<typeof seenOrderSchema>

export interface SeenOrders extends AsyncDisposable {
  has(jti: string): boolean
  /** The newest epoch taken for a job; 0 when none was. */
  newestEpoch(job: string): number
  /** Counts at once in this process; resolves when the disk has it. A second call for the same order writes nothing. */
  remember(order: Order): Promise<void>
}

/** Opens `<stateDir>/seen-orders.jsonl`. Throws `config-invalid` when the file is damaged: no order is taken then. */
export async function openSeenOrders(stateDir: string, now: () => Date = () => new Date()): Promise<SeenOrders> {
  const path = join(stateDir, 'seen-orders.jsonl')
  await forgetExpired(path, now())
  const { lines, entries } = await openJsonLines(path, seenOrderSchema)
  const jtis = new Set(entries.flatMap((entry) => entry.jti ?? []))
  const epochs = newestEpochs(entries)
  return {
    has: (jti) => jtis.has(jti),
    newestEpoch: (job) => epochs.get(job) ?? 0,
    remember: async ({ jti, exp, job }) => {
      if (jtis.has(jti)) return
      jtis.add(jti)
      epochs.set(job.id, Math.max(job.epoch, epochs.get(job.id) ?? 0))
      await lines.append({ job: job.id, epoch: job.epoch, jti, exp })
    },
    [Symbol.asyncDispose]: async () => await lines[Symbol.asyncDispose](),
  }
}

/** Rewrites the file without expired jtis, one epoch mark per job. The old file stays until the new one is on the disk. */
async function forgetExpired(path: string, now: Date): Promise<void> {
  let entries: SeenOrder[]
  try {
    entries = await readJsonLines(path, seenOrderSchema)
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return
    throw error
  }
  const nowS = now.getTime() / 1000
  const isKept = (entry: SeenOrder): boolean => entry.exp !== undefined && entry.exp + KEEP_AFTER_EXPIRY_S >= nowS
  if (!entries.some((entry) => entry.jti !== undefined && !isKept(entry))) return
  const marks = [...newestEpochs(entries)].map(([job, epoch]) => ({ job, epoch }))
  const text = [...marks, ...entries.filter(isKept)].map((entry) => `${JSON.stringify(entry)}\n`).join('')
  const draft = `${path}.new`
  await writeFile(draft, text, { mode: 0o600, flush: true })
  await rename(draft, path)
  await syncFolder(dirname(path))
}

function newestEpochs(entries: SeenOrder[]): Map<string, number> {
  const epochs = new Map<string, number>()
  for (const { job, epoch } of entries) epochs.set(job, Math.max(epoch, epochs.get(job) ?? 0))
  return epochs
}
