import { once } from 'node:events'
import { Worker } from 'node:worker_threads'

/** What readers have seen. */
export interface Seen {
  /** What a reader may never see, in words. */
  wrong: string[]
  /** Versions of the rows, in the order in which they were first seen. */
  versions: string[]
  reads: number
  /** Of one statement. */
  longestMs: number
}

/**
 * One connection. Without a level each relation is read by itself; with one, each twice in a transaction, which must find
 * the same version in all of them.
 */
export interface ReaderOf {
  level?: 'read committed' | 'repeatable read'
  relations: string[]
}

/** Lets them read over and over while the work is done. */
export async function whileReading(url: string, readers: ReaderOf[], work: () => Promise<void>): Promise<Seen> {
  const worker = new Worker(new URL('read-worker.ts', import.meta.url), { workerData: { url, readers } })
  try {
    await once(worker, 'message')
    await work()
    const answer = once(worker, 'message')
    worker.postMessage('stop')
    const [seen] = (await answer) as [Seen]
    return seen
  } finally {
    await worker.terminate()
  }
}
