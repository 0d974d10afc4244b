/**
 * Lets so many requests begin at a time, the others in the order in which they came. What it answers ends a turn. A request
 * that is aborted while it waits leaves the queue; Node's agent would open a connection for it still.
 */
export function limitRequests(most: number): (signal: AbortSignal) => Promise<() => void> {
  let free = most
  const waiting = new Set<() => void>()

  const release = (): void => {
    const [next] = waiting
    if (next) next()
    else free += 1
  }
  const once = (): (() => void) => {
    let isDone = false
    return () => {
      if (!isDone) release()
      isDone = true
    }
  }
  return async (signal) => {
    signal.throwIfAborted()
    if (free > 0) {
      free -= 1
      return once()
    }
    const { promise, resolve, reject } = Promise.withResolvers<void>()
    const begin = (): void => {
      waiting.delete(begin)
      signal.removeEventListener('abort', leave)
      resolve()
    }
    const leave = (): void => {
      waiting.delete(begin)
      reject(signal.reason)
    }
    waiting.add(begin)
    signal.addEventListener('abort', leave, { once: true })
    await promise
    return once()
  }
}
