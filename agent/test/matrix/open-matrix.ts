import { setTimeout as sleep } from 'node:timers/promises'
import { isFinished } from '@multiboard-sync/shared/job-state'
import type { JobView } from '@multiboard-sync/shared/protocol'
import { expect } from 'vitest'
import { until } from '../../../shared/testing/postgres/deadline.ts'
import type { Lane, Stopped } from './open-lane.ts'
import type { Point } from './points.ts'
import { readRemains, readTarget, type TargetState } from './read-target.ts'

/** What is crashed: a kind of job, and how the target is before and after it. */
export interface Subject {
  engine: string
  /** Makes the target what it is before the job. */
  reset(point: Pick<Point, 'isBig'>): Promise<void>
  ask(point: Pick<Point, 'isBig'>): Promise<JobView>
  /** Of a created copy owners and grants are its own. */
  owners: boolean
  /** True for what keeps the replaced tables. */
  keepsPrevious: boolean
  /** Whatever became of the job: a sync that must succeed, and as what it leaves the target. */
  follow: { ask(point: Pick<Point, 'isBig'>): Promise<JobView>; leaves: 'before' | 'after' }
}

/** The fates that a job can meet at a point. Each ends with the target as it was or as it is meant to be, and says which. */
export interface Matrix {
  kill(point: Point): Promise<void>
  cut(point: Point): Promise<void>
  cancel(point: Point): Promise<void>
  /** Two signals: a cancel by the agent's own host, which no control plane can call too late. */
  stop(point: Point): Promise<void>
  freeze(point: Point, forMs: number): Promise<void>
  /** Runs to the point, does what is told there, and answers what the control plane says in the end. */
  until(point: Point, act: (stopped: Stopped, job: JobView) => Promise<void>): Promise<JobView>
  expectBefore(): Promise<void>
  expectAfter(): Promise<void>
  /** Nothing of the job is left, but the tables that an undo needs. */
  expectNoRemains(): Promise<void>
  /** A sync, which succeeds. */
  follow(): Promise<void>
}

interface Reference {
  all: TargetState
  unvalidated: TargetState
}

const TIMEOUT_MS = 50_000
const LOOK_AGAIN_MS = 150

export async function openMatrix(lane: Lane, subject: Subject): Promise<Matrix> {
  const { control, world } = lane
  const { owners } = subject
  const { url } = world.target
  const read = async (): Promise<Reference> => ({
    all: await readTarget(url, { owners }),
    unvalidated: await readTarget(url, { owners, keys: 'unvalidated' }),
  })
  const states = new Map<string, { before: Reference; after: Reference }>()
  /** The size whose `before` the target is in now. */
  let ready: string | undefined
  let size = ''

  const waitForEnd = async (id: string): Promise<JobView> =>
    await until(
      'the job to end',
      TIMEOUT_MS,
      async () => {
        const view = await control.job(id)
        return isFinished(view.state) ? view : undefined
      },
      LOOK_AGAIN_MS,
    )
  const succeed = async (asked: Promise<JobView>): Promise<void> => {
    const job = await asked
    expect(await waitForEnd(job.id)).toMatchObject({ state: 'succeeded', target_state: 'changed' })
  }
  /** The first time of each size: a job that nothing happens to shows what is to come out. */
  const prepare = async (point: Pick<Point, 'isBig'>): Promise<void> => {
    size = point.isBig ? 'big' : 'small'
    if (!states.has(size)) {
      await subject.reset(point)
      const before = await read()
      await succeed(subject.ask(point))
      const after = await read()
      expect(after.all.contents, 'the job changes something').not.toEqual(before.all.contents)
      states.set(size, { before, after })
      ready = undefined
    }
    if (ready !== size) await subject.reset(point)
    ready = undefined
  }
  const reference = () => {
    const state = states.get(size)
    if (!state) throw new Error('nothing was prepared')
    return state
  }
  const expectState = async (leaves: 'before' | 'after'): Promise<void> => {
    expect(await readTarget(url, { owners }), `the target is as ${then}`).toEqual(reference()[then].all)
    if (then === 'before') ready = size
  }
  const expectNoRemains = async (): Promise<void> => {
    const isKept = (name: string): boolean => subject.keepsPrevious && name.startsWith('multiboard_sync_prev_')
    let remains = await readRemains(url)
    // A session that was cut ends when the server notices.
    await until('the sessions of the agent to end', TIMEOUT_MS, async () => {
      remains = await readRemains(url)
      return remains.sessions.length === 0
    })
    expect(remains.asides.filter((name) => !isKept(name))).toEqual([])
    expect(remains.toValidate).toBe(0)
    expect(await world.store.openUploads(world.bucket)).toEqual([])
  }
  const follow = async (): Promise<void> => {
    ready = undefined
    await succeed(subject.follow.ask({ isBig: size === 'big' }))
    await expectState(subject.follow.leaves)
    await expectNoRemains()
  }

  const comeTo = async (point: Point): Promise<{ job: JobView; stopped: Stopped }> => {
    await prepare(point)
    let id: string | undefined
    const coming = lane.stopAt(() => id, point)
    coming.catch(() => undefined)
    const job = await subject.ask(point)
    id = job.id
    const over = new AbortController()
    const ended = (async () => {
      while (!over.signal.aborted) {
        const view = await control.job(job.id)
        if (isFinished(view.state)) throw new Error(`the job ended before the point: ${JSON.stringify(view)}`)
        await sleep(500)
      }
    })()
    ended.catch(() => undefined)
    try {
      const stopped = await Promise.race([coming, ended])
      if (stopped === undefined) throw new Error('the point was missed')
      return { job, stopped }
    } finally {
      over.abort()
    }
  }

  /** What the agent says of the target is what we see there. */
  const expectTold = async (point: Point, told: JobView, codes: string[]): Promise<void> => {
    if (point.leaves === 'after') {
      expect(told).toMatchObject({ state: 'succeeded', target_state: 'changed', result: { receipt: { job: told.id } } })
    } else {
      expect(told.code).toBeOneOf(codes)
      expect(told.target_state).toBeOneOf(['untouched', 'rolled_back'])
    }
    await expectState(point.leaves ?? 'before')
    await expectNoRemains()
    if (point.isFollowed) await follow()
  }
  const expectTargetState = (stopped: Stopped, told: JobView, point: Point): void => {
    if (point.leaves === 'after') return
    const mayBeCommitted = stopped.step === 'committing'
    expect(told.target_state).toBe(mayBeCommitted ? 'rolled_back' : 'untouched')
  }
  const act: Matrix['until'] = async (point, what) => {
    const { job, stopped } = await comeTo(point)
    await what(stopped, job)
    return await waitForEnd(job.id)
  }

  return {
    kill: async (point) => {
      const { job, stopped } = await comeTo(point)
      await lane.daemon.kill()
      const then = point.leaves ?? 'before'
      // Nobody has tidied up yet: whoever reads the tables now sees one of the two already.
      expect(await readTarget(url, { owners, keys: 'unvalidated' })).toEqual(reference()[then].unvalidated)
      await lane.boot()
      const told = await waitForEnd(job.id)
      expectTargetState(stopped, told, point)
      await expectTold(point, told, ['crashed'])
    },
    cut: async (point) => {
      const told = await act(point, async ({ gate }) => {
        await Promise.resolve()
        lane.gates[gate].cutAll()
      })
      await expectTold(point, told, ['connection-lost', 'database-unreachable'])
    },
    cancel: async (point) => {
      const told = await act(point, async (stopped, job) => {
        const { status } = await control.call('POST', `/v1/jobs/${job.id}/cancel`)
        if (point.leaves === 'after') stopped.release()
        expect(status).toBe(point.leaves === 'after' ? 409 : 200)
      })
      await expectTold(point, told, ['canceled'])
      if (point.leaves !== 'after') expect(told).toMatchObject({ state: 'canceled' })
    },
    stop: async (point) => {
      const told = await act(point, async () => {
        lane.daemon.send('SIGTERM')
        await until('the first signal to be heard', TIMEOUT_MS, () => lane.daemon.log().includes('Stopping'))
        lane.daemon.send('SIGTERM')
        await lane.daemon.exited()
        await lane.boot()
      })
      await expectTold(point, told, ['canceled'])
    },
    freeze: async (point, forMs) => {
      const told = await act(point, async (stopped, job) => {
        control.proxy.blackhole()
        lane.daemon.send('SIGSTOP')
        await sleep(forMs)
        stopped.release()
        lane.daemon.send('SIGCONT')
        await until('the agent to end the job', TIMEOUT_MS, () => lane.lastStep(job.id) === 'finished')
        await control.proxy.resume()
      })
      await expectTold(point, told, ['lease-lost'])
    },
    until: act,
    expectBefore: async () => await expectState('before'),
    expectAfter: async () => await expectState('after'),
    expectNoRemains,
    follow,
  }
}
