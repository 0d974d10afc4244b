/*
 * Time that passes only when nothing is left to do. Everything that waits in a history waits here; the earliest waker goes
 * first, and the next one only when all that the first has caused is done, statements in PostgreSQL included. So a history
 * is decided by its seed alone, and an hour of it takes as long as its statements.
 */

export interface Simulation {
  /** Milliseconds since 1970, as a clock that is always right would show them. */
  nowMs: () => number
  /** Resolves `ms` later, in the order in which it was asked where two are due at once. */
  sleep(ms: number): Promise<void>
  /** Real work, which time has to wait for. */
  busy<Result>(work: () => Promise<Result>): Promise<Result>
  /** The same for work that somebody else begins and ends; answers what says that it has ended. */
  hold(): () => void
  /** Lets time pass until `isOver` says so, or until `untilMs`. Throws what a detached part threw. */
  run(untilMs: number, isOver: () => boolean): Promise<void>
  /** Starts a part that nobody waits for; what it throws ends the run. */
  start(part: () => Promise<void>): void
}

interface Waker {
  atMs: number
  order: number
  wake(): void
}

/** Fixed, so that fences, which count seconds since 2026, are the same in every run. */
const START_MS = Date.parse('2026-11-22T12:00:00Z')

export function createSimulation(): Simulation {
  let nowMs = START_MS
  let order = 0
  let working = 0
  let failure: Error | undefined
  let idle: PromiseWithResolvers<void> | undefined
  const wakers: Waker[] = []

  /** Until no statement runs and no promise has anything to say. */
  const quiet = async (): Promise<void> => {
    do {
      if (working > 0) await (idle ??= Promise.withResolvers()).promise
      await new Promise((resolve) => setImmediate(resolve))
    } while (working > 0)
  }
  const hold = (): (() => void) => {
    working += 1
    let isHeld = true
    return () => {
      if (isHeld) working -= 1
      isHeld = false
      if (working > 0) return
      idle?.resolve()
      idle = undefined
    }
  }
  return {
    hold,
    nowMs: () => nowMs,
    sleep: async (ms) => {
      const { promise, resolve } = Promise.withResolvers<void>()
      order += 1
      push(wakers, { atMs: nowMs + Math.max(0, ms), order, wake: resolve })
      await promise
    },
    busy: async (work) => {
      const release = hold()
      try {
        return await work()
      } finally {
        release()
      }
    },
    start: (part) => {
      part().catch((error: unknown) => {
        failure ??= error instanceof Error ? error : new Error(String(error))
      })
    },
    run: async (untilMs, isOver) => {
      for (;;) {
        await quiet()
        if (failure !== undefined) throw failure
        const next = wakers[0]
        if (isOver() || next === undefined || next.atMs > untilMs) return
        pop(wakers)
        nowMs = Math.max(nowMs, next.atMs)
        next.wake()
      }
    },
  }
}

function isBefore(a: Waker, b: Waker): boolean {
  return a.atMs < b.atMs || (a.atMs === b.atMs && a.order < b.order)
}

/** A few dozen wakers at most: a sorted array is as good as a heap. */
function push(wakers: Waker[], waker: Waker): void {
  const place = wakers.findIndex((other) => isBefore(waker, other))
  wakers.splice(place === -1 ? wakers.length : place, 0, waker)
}

function pop(wakers: Waker[]): void {
  wakers.shift()
}
