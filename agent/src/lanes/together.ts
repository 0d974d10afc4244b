import { toSyncError } from '@multiboard-sync/shared/sync-error'

/**
 * Two pieces of work at the same time, which share no connection. The first failure stops the other one through its signal,
 * and is thrown when both have ended, so that nothing goes on behind a job that has ended.
 */
export async function together<A, B>(
  signal: AbortSignal,
  one: (signal: AbortSignal) => Promise<A>,
  other: (signal: AbortSignal) => Promise<B>,
): Promise<[A, B]> {
  const failed = new AbortController()
  const until = AbortSignal.any([signal, failed.signal])
  const watched = async <T>(work: (signal: AbortSignal) => Promise<T>): Promise<T> => {
    try {
      return await work(until)
    } catch (error) {
      if (!until.aborted) failed.abort(toSyncError(error))
      throw until.reason
    }
  }
  const [first, second] = await Promise.allSettled([watched(one), watched(other)])
  if (first.status === 'rejected') throw first.reason
  if (second.status === 'rejected') throw second.reason
  return [first.value, second.value]
}
