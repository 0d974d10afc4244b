/**
 * Runs both at the same time and answers what both answer. When one fails the other is stopped through its signal and
 * waited for, so that nothing goes on behind a job that has ended; then the first failure is thrown.
 */
export async function together<A, B>(
  signal: AbortSignal,
  one: (signal: AbortSignal) => Promise<A>,
  other: (signal: AbortSignal) => Promise<B>,
): Promise<[A, B]> {
  const failed = new AbortController()
  const either = AbortSignal.any([signal, failed.signal])
  let first: { reason: unknown } | undefined
  const watch = async <T>(work: Promise<T>): Promise<T> => {
    try {
      return await work
    } catch (reason) {
      first ??= { reason }
      failed.abort(reason)
      throw reason
    }
  }
  const [a, b] = await Promise.allSettled([watch(one(either)), watch(other(either))])
  if (a.status === 'fulfilled' && b.status === 'fulfilled') return [a.value, b.value]
  throw first?.reason
}
