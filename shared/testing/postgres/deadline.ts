import { setTimeout as sleep } from 'node:timers/promises'

/** Rejects with the label when the promise has not settled in time. The work itself is not stopped. */
export async function withDeadline<T>(label: string, timeoutMs: number, work: Promise<T>): Promise<T> {
  const timer = new AbortController()
  const late = sleep(timeoutMs, undefined, { signal: timer.signal }).then(() => {
    throw new Error(`${label}: not done within ${timeoutMs} ms`)
  })
  late.catch(() => undefined)
  try {
    return await Promise.race([work, late])
  } finally {
    timer.abort()
  }
}

/** Asks again every `everyMs` until the answer is neither false nor undefined; rejects with the label after `timeoutMs`. */
export async function until<T>(
  label: string,
  timeoutMs: number,
  ask: () => T | Promise<T>,
  everyMs = 50,
): Promise<Exclude<T, false | undefined>> {
  const endsAt = performance.now() + timeoutMs
  for (;;) {
    const leftMs = endsAt - performance.now()
    if (leftMs <= 0) throw new Error(`${label}: not so within ${timeoutMs} ms`)
    const answer = await withDeadline(label, leftMs, Promise.resolve(ask()))
    if (answer !== false && answer !== undefined) return answer as Exclude<T, false | undefined>
    await sleep(everyMs)
  }
}
