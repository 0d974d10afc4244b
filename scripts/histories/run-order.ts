import { setMaxListeners } from 'node:events'

import { keepCalling } from '../../agent/src/poll/retry-delay.ts'
import { startUpload } from '../../agent/src/report/upload.ts'
import { createReporter } from '../../agent/src/report/reporter.ts'
import type { Order } from '../../shared/src/order.ts'
import { ORDER_MAX_AGE_S } from '../../shared/src/order.ts'
import { SyncError, toSyncError } from '../../shared/src/sync-error.ts'
import { connectAgent } from './connect-agent.ts'
import type { Entry, Machine } from './machine.ts'
import { openMemoryOutbox } from './memory-outbox.ts'
import type { Held } from './oracle.ts'
import { performJob } from './perform-job.ts'
import type { World } from './world.ts'

/** As agent/src/take-order.ts does: in the journal first, then told, then begun; its end is told for a while, then at the next poll. */
const TELL_FOR_MS = 120_000
const REFUSE_FOR_MS = 60_000

export async function runOrder(world: World, machine: Machine, order: Order): Promise<void> {
  const { simulation, oracle } = world
  const { process, disk } = machine
  const { id, epoch, fence } = order.job
  const target = 'target' in order.params ? order.params.target : ''
  const held: Held = { job: id, epoch, fence, target }
  const controlPlane = connectAgent(world, machine, held)
  const options = { clock: process.clock, random: process.random.next }

  const seen = disk.seen.get(id)
  if (seen !== undefined && seen >= epoch) {
    const signal = deadline(world, REFUSE_FOR_MS)
    const refused = { epoch, verdict: 'refused', code: 'order-superseded', message: 'Seen before.' } as const
    await keepCalling({ ...options, signal }, async () => await controlPlane.accept(id, refused, signal))
    return
  }
  const entry: Entry = { job: id, epoch, fence, target, isCommitting: false }
  disk.journals.set(id, entry)
  disk.seen.set(id, epoch)
  await process.step()

  const stop = new AbortController()
  setMaxListeners(0, stop.signal)
  const expired = deadline(world, ORDER_MAX_AGE_S * 1000)
  try {
    const signal = AbortSignal.any([expired, stop.signal])
    const accepted = { epoch, verdict: 'accepted' } as const
    await keepCalling({ ...options, signal }, async () => await controlPlane.accept(id, accepted, signal))
  } catch (thrown) {
    stop.abort(expired.aborted ? new SyncError('control-plane-unreachable', 'Not heard.') : toSyncError(thrown))
  }
  const outbox = openMemoryOutbox(disk, id, epoch)
  const handle = startUpload({
    controlPlane,
    job: id,
    epoch,
    outbox,
    signal: new AbortController().signal,
    onCancel: () => stop.abort(new SyncError('canceled', 'The job was canceled.')),
    onLost: (error) => stop.abort(error),
    ...options,
  })
  const reporter = createReporter([handle.sink], { clock: process.clock })
  const result = await performJob(world, machine, entry, {
    reporter,
    lease: handle.lease,
    signal: stop.signal,
  })
  await process.step()
  entry.result = result
  oracle.note(`${machine.name}: ${id} ends as ${result.outcome}, ${result.target_state} (${result.code ?? 'ok'})`)
  await handle.complete(result, deadline(world, TELL_FOR_MS)).catch(() => undefined)
  await handle[Symbol.asyncDispose]()
  await simulation.sleep(0)
}

/** A signal that aborts in the history's time. */
export function deadline({ simulation }: World, ms: number): AbortSignal {
  const late = new AbortController()
  setMaxListeners(0, late.signal)
  simulation.start(async () => {
    await simulation.sleep(ms)
    late.abort(new SyncError('control-plane-unreachable', 'Too late.'))
  })
  return late.signal
}
