import type { JobResult } from '@multiboard-sync/shared/protocol'
import type { SyncError } from '@multiboard-sync/shared/sync-error'
import type { KeepLeaseOptions } from '../keep-lease.ts'
import { openOutbox, type Outbox } from '../outbox.ts'
import { createReporter, type Reporter } from '../reporter.ts'
import { startUpload, type UploadHandle } from '../upload.ts'
import { createFakeControlPlane, type FakeControlPlane } from './fake-control-plane.ts'
import { createVirtualClock, type VirtualClock } from './virtual-clock.ts'

export const JOB = 'j4k7q2m9xw1ab'
export const MINUTE_MS = 60_000
export const result: JobResult = {
  outcome: 'succeeded',
  target_state: 'changed',
  tables: 1,
  rows: 2,
  bytes: 3,
  seconds: 4,
  peak_rss_mb: 5,
}

export interface Scene {
  clock: VirtualClock
  plane: FakeControlPlane
  outbox: Outbox
  upload: UploadHandle
  /** What the lease's thread would tell, of which there is none here. */
  thread: KeepLeaseOptions
  hasThread: boolean
  reporter: Reporter
  troubles: SyncError[]
  stop: AbortController
  cancels: number
  lost: SyncError[]
}

/** A running job whose disk is instant, so that only the virtual clock's time counts. */
export function startScene(
  stateDir: string,
  random: () => number = () => 0.5,
  prepare?: (plane: FakeControlPlane) => void,
): Scene {
  const clock = createVirtualClock()
  const plane = createFakeControlPlane(clock)
  prepare?.(plane)
  const outbox: Outbox = Object.assign(Object.create(openOutbox({ stateDir, job: JOB, epoch: 1 })), {
    sync: async () => undefined,
  })
  const stop = new AbortController()
  const started: Scene = {
    clock,
    plane,
    outbox,
    stop,
    cancels: 0,
    lost: [],
    troubles: [],
    hasThread: true,
    upload: undefined!,
    reporter: undefined!,
    thread: undefined!,
  }
  started.upload = startUpload({
    controlPlane: plane,
    job: JOB,
    epoch: 1,
    outbox,
    signal: stop.signal,
    onCancel: () => (started.cancels += 1),
    onLost: (error) => started.lost.push(error),
    onTrouble: (error) => started.troubles.push(error),
    caller: async () => await Promise.reject(new Error('no thread asks')),
    startThread: (thread) => {
      started.thread = thread
      return { [Symbol.asyncDispose]: async () => void (started.hasThread = await Promise.resolve(false)) }
    },
    clock,
    random,
  })
  // A lease is for changing a target: before this phase there is none.
  started.upload.sink.phase('swapping')
  started.reporter = createReporter([started.upload.sink], { clock })
  return started
}

/** Completes while time passes; the deadline is virtual. */
export async function complete({ clock, upload }: Scene, withinMs = 10 * MINUTE_MS): Promise<string> {
  let isDone = false
  const deadline = new AbortController()
  const ending = upload.complete(result, deadline.signal).finally(() => (isDone = true))
  ending.catch(() => undefined)
  for (let passedMs = 0; !isDone && passedMs < withinMs; passedMs += 500) await clock.pass(500)
  deadline.abort(new Error('the completion was not acknowledged in time'))
  return await ending
}
