import { SyncError, toSyncError } from '@multiboard-sync/shared/sync-error'
import type { Session } from '../postgres/session.ts'
import type { Trace, WorkKind } from './trace.ts'

/*
 * The connections of a job, and who may work on them: copies, checksums, the safety backup, indexes and keys share so many
 * lanes, and a lane has one connection to a database at a time.
 *
 * Promises: what waits longest to be followed by other work goes first (`urgency`); after the first failure nothing begins,
 * what runs is stopped through `signal`, and every call fails with that same failure; each piece of work is in the trace.
 * Never: holds more connections to a database than there are lanes, or begins work inside of work (it could wait for itself).
 */

export interface Task {
  kind: WorkKind
  /** A table, index or key, as events name it. */
  name: string
  /** Expected seconds from its begin to the end of the last that waits for it. Only the order among tasks matters. */
  urgency: number
}

/** A way to open sessions of one kind. The same object: the same kind. */
export interface Door {
  /** The agent's name of the database. */
  database: string
  open: (signal: AbortSignal) => Promise<Session>
}

export interface Lane {
  /** From 1. */
  readonly number: number
  /** The lane's session of this kind; another kind's to the same database is closed first. Throws as the door's open(). */
  session(door: Door): Promise<Session>
  /** Cuts the session of this kind, if there is one: a COPY that was stopped, or a broken connection, leaves it unusable. */
  drop(door: Door): void
}

export interface Lanes extends AsyncDisposable {
  readonly count: number
  /** Aborted by the job's own signal, and by the first failure. */
  readonly signal: AbortSignal
  /** Waits for a lane, works, gives it back. After a failure of any task: that failure. */
  run<T>(task: Task, work: (lane: Lane) => Promise<T>): Promise<T>
  /** For work beside the lanes: its failure is one of all, as a task's is. */
  watch<T>(work: Promise<T>): Promise<T>
  /** Closes all connections, between two steps of a job; later tasks open new ones. Not while a task runs. */
  rest(): Promise<void>
  /** Stops what still waits or works, and closes all connections: before what a job that failed has left is removed. */
  giveUp(): Promise<void>
}

interface Waiting {
  urgency: number
  start: (lane: OwnedLane) => void
  fail: (reason: unknown) => void
}

interface OwnedLane extends Lane {
  end(isWhole: boolean): Promise<void>
}

/**
 * Opens no connection yet. Disposing gives up what still waits or works (somebody who waits for it has failed elsewhere);
 * connections are closed politely unless something failed.
 */
export function openLanes(options: { count: number; signal: AbortSignal; trace: Trace }): Lanes {
  const { count, trace } = options
  const failed = new AbortController()
  const signal = AbortSignal.any([options.signal, failed.signal])
  const lanes = Array.from({ length: count }, (_, index) => createLane(index + 1, signal))
  // The lane that was used last has its connections open: taken from the end and put back there.
  const idle = lanes.toReversed()
  const waiting: Waiting[] = []
  /** Lanes that are on their way back. */
  let returning = 0
  const unfinished = new Set<Promise<void>>()
  signal.addEventListener('abort', () => {
    for (const one of waiting.splice(0)) one.fail(signal.reason)
  })

  async function take(urgency: number): Promise<OwnedLane> {
    const lane = returning === 0 ? idle.pop() : undefined
    if (lane) return lane
    return await new Promise((start, fail) => waiting.splice(placeOf(urgency), 0, { urgency, start, fail }))
  }

  /** The most urgent is last, and of equals the one that came first. */
  function placeOf(urgency: number): number {
    let [from, to] = [0, waiting.length]
    while (from < to) {
      const middle = (from + to) >>> 1
      if ((waiting[middle]?.urgency ?? 0) < urgency) from = middle + 1
      else to = middle
    }
    return from
  }

  /** In a moment: who has waited for a task may have something to do that is more urgent than all that waits already. */
  function giveBack(lane: OwnedLane): void {
    returning += 1
    setImmediate(() => {
      returning -= 1
      idle.push(lane)
      for (let next = waiting.pop(); next; next = waiting.pop()) {
        const free = idle.pop()
        if (!free) return void waiting.push(next)
        next.start(free)
      }
    })
  }

  /** Of several failures the first is the cause; the others are its echo. */
  function fail(error: unknown): never {
    if (!signal.aborted) failed.abort(toSyncError(error))
    throw signal.reason
  }

  async function giveUp(): Promise<void> {
    if (unfinished.size > 0) failed.abort(new SyncError('canceled', 'The work was given up, because the job ended.'))
    await Promise.all(unfinished)
    await Promise.all(lanes.map(async (lane) => await lane.end(!signal.aborted)))
  }

  return {
    count,
    signal,
    async run({ kind, name, urgency }, work) {
      signal.throwIfAborted()
      const finished = Promise.withResolvers<void>()
      unfinished.add(finished.promise)
      let lane: OwnedLane | undefined
      let end: ReturnType<Trace['begin']> | undefined
      try {
        lane = await take(urgency)
        end = trace.begin(lane.number, kind, name)
        signal.throwIfAborted()
        return await work(lane)
      } catch (error) {
        end?.('failed')
        return fail(error)
      } finally {
        end?.('ended')
        if (lane) giveBack(lane)
        unfinished.delete(finished.promise)
        finished.resolve()
      }
    },
    async watch(work) {
      try {
        return await work
      } catch (error) {
        return fail(error)
      }
    },
    async rest() {
      await Promise.all(lanes.map(async (lane) => await lane.end(true)))
    },
    giveUp,
    [Symbol.asyncDispose]: giveUp,
  }
}

function createLane(number: number, signal: AbortSignal): OwnedLane {
  const sessions = new Map<string, { door: Door; session: Session }>()
  return {
    number,
    async session(door) {
      const open = sessions.get(door.database)
      if (open?.door === door) return open.session
      sessions.delete(door.database)
      await open?.session.close()
      const session = await door.open(signal)
      sessions.set(door.database, { door, session })
      return session
    },
    drop(door) {
      const open = sessions.get(door.database)
      if (open?.door !== door) return
      sessions.delete(door.database)
      open.session.destroy()
    },
    async end(isWhole) {
      const open = [...sessions.values()]
      sessions.clear()
      if (isWhole) await Promise.all(open.map(async ({ session }) => await session.close()))
      else for (const { session } of open) session.destroy()
    },
  }
}

/** Waits until all have ended, so that nothing goes on behind a job that has ended; then throws the first failure, if any. */
export async function allOf<T>(work: Iterable<Promise<T>>): Promise<T[]> {
  const settled = await Promise.allSettled(work)
  return settled.map((one) => {
    if (one.status === 'rejected') throw one.reason
    return one.value
  })
}
