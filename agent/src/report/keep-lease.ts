import { Worker } from 'node:worker_threads'
import { phaseSchema, type Phase } from '@multiboard-sync/shared/job'
import { SyncError } from '@multiboard-sync/shared/sync-error'
import { proxyEnv, threadEnv } from '../env.ts'
import type { LeaseMemory } from './lease-memory.ts'
import type { Caller, LeaseNews, LeaseWorkerInput } from './lease-messages.ts'

/** How exactly the lease's thread knows whether the main thread's loop turns. */
const TURN_EVERY_MS = 1000
export interface KeepLeaseOptions {
  caller: () => Promise<Caller>
  job: string
  epoch: number
  memory: LeaseMemory
  onRenewed(news: { cancel: boolean; phase: Phase }): void
  /** The control plane refuses a renewal: ask for yourself. */
  onRefused(): void
  /** The thread could not start, or died: nobody renews but the main thread. */
  onEnd(error: SyncError): void
}

/**
 * Starts the thread that keeps a job's lease when the main thread is too busy (lease-worker.ts). Never throws: a job goes
 * on without it, and loses its lease only if the main thread then really is too busy.
 */
export function keepLease(options: KeepLeaseOptions): AsyncDisposable {
  const { caller, job, epoch, memory } = options
  let isEnded = false
  const turns = setInterval(memory.noteTurn, TURN_EVERY_MS).unref()
  memory.noteTurn()
  const end = (cause: unknown): undefined => {
    if (isEnded) return
    isEnded = true
    clearInterval(turns)
    options.onEnd(
      new SyncError('internal', "The thread that keeps the job's lease has ended.", {
        hint: 'The job goes on and its reports keep the lease. Should it be lost, the target is left alone.',
        cause,
      }),
    )
  }
  const hear = (news: LeaseNews): void => {
    if (isEnded) return
    if (news.type === 'renewed') options.onRenewed(news)
    else options.onRefused()
  }
  const start = async (): Promise<Worker | undefined> => {
    const { buffer } = memory
    const input = { caller: await caller(), job, epoch, buffer, phases: phaseSchema.options, proxyEnv: proxyEnv() }
    if (isEnded) return undefined
    const worker = startWorker(input)
    worker.on('message', hear)
    worker.once('error', end)
    worker.once('exit', (code) => end(new Error(`exit code ${code}`)))
    worker.unref()
    return worker
  }
  const started = start().catch((thrown: unknown) => end(thrown))
  return {
    [Symbol.asyncDispose]: async () => {
      isEnded = true
      clearInterval(turns)
      await (await started)?.terminate()
    },
  }
}

function startWorker(input: LeaseWorkerInput): Worker {
  return new Worker(new URL('./lease-worker.ts', import.meta.url), {
    workerData: input,
    env: threadEnv(),
    execArgv: [],
    name: 'lease',
    // Measured: 12 MB of old generation are enough; with a smaller young one the collector takes more than it saves.
    resourceLimits: { maxYoungGenerationSizeMb: 2, maxOldGenerationSizeMb: 16 },
  })
}
