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
  /** Schemas with replaced tables that are kept. */
  previous: { before: number; after: number; followed: { before: number; after: number } }
  /** Whatever became of the job: a sync that must succeed, and as what it leaves the target. */
  follow: { ask(point: Pick<Point, 'isBig'>): Promise<JobView>; leaves: 'before' | 'after' }
}

/** The fates that a job can meet at a point. Each ends with the target as it was or as it is meant to be, and says which. */
export interface Matrix {
  kill(point: Point): Promise<void>
  /** Killed when the end is written down and nobody has heard of it. */
  killUntold(point: Point): Promise<void>
  cut(point: Point): Promise<void>
  cancel(point: Point): Promise<void>
  /** Two signals: a cancel by the agent's own host, which no control plane can call too late. */
  stop(point: Point): Promise<void>
  freeze(point: Point, forMs: number): Promise<void>
  /** Frozen until it reads as lost, and its target has been given to a newer job when it wakes. */
  supersede(point: Point): Promise<void>
  /** Canceled that long after it was begun, wherever it is then, or when it has ended; answers what became of it. */
  cancelAfter(ms: number | 'its end'): Promise<JobView>
  /** A whole job in a bad world, in which it fails with one of the codes. */
  under(point: Point, world: () => Promise<AsyncDisposable>, codes: string[]): Promise<void>
}

interface Reference {
  all: TargetState
  unvalidated: TargetState
}

/** Of one job or boot, on a machine that is busy with other things. */
const TIMEOUT_MS = 100_000
const LOOK_AGAIN_MS = 150
/** A report's interval, the statement that is under way, and the way back. */
const CANCEL_WITHIN_S = 20

/** `onlyBefore`: for points that leave the target as it was; no job is run to see how it is after one. */
export async function openMatrix(
  lane: Lane,
  subject: Subject,
  options: { onlyBefore?: boolean } = {},
): Promise<Matrix> {
  const { control, world } = lane
  const { owners } = subject
  const { url } = lane.target
  const read = async (): Promise<Reference> => ({
    all: await readTarget(url, { owners }),
    unvalidated: await readTarget(url, { owners, keys: 'unvalidated' }),
  })
  const states = new Map<string, { before: Reference; after: Reference | undefined }>()
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
      if (options.onlyBefore !== true) await succeed(subject.ask(point))
      const after = options.onlyBefore === true ? undefined : await read()
      expect(after?.all.contents, 'the job changes something').not.toEqual(before.all.contents)
      states.set(size, { before, after })
      ready = options.onlyBefore === true ? size : undefined
    }
    if (ready !== size) await subject.reset(point)
    ready = undefined
  }
  const reference = (leaves: 'before' | 'after'): Reference => {
    const state = states.get(size)?.[leaves]
    if (!state) throw new Error('it was not looked at')
    return state
  }
  const expectState = async (leaves: 'before' | 'after'): Promise<void> => {
    expect(await readTarget(url, { owners }), `the target is as ${leaves}`).toEqual(reference(leaves).all)
    if (leaves === 'before') ready = size
  }
  const expectNoRemains = async (previous: number): Promise<void> => {
    const { asides, toValidate } = await readRemains(url)
    const isPrevious = (name: string): boolean => name.startsWith('multiboard_sync_prev_')
    expect(asides.filter((name) => !isPrevious(name))).toEqual([])
    expect(asides.filter(isPrevious), 'kept for an undo').toHaveLength(previous)
    expect(toValidate, 'keys to validate').toBe(0)
    expect(await world.store.openUploads(world.bucket)).toEqual([])
    // A session that was cut ends when the server notices.
    await until(
      'the sessions of the agent to end',
      TIMEOUT_MS,
      async () => (await readRemains(url)).sessions.length === 0,
    )
  }
  const follow = async (leaves: 'before' | 'after'): Promise<void> => {
    ready = undefined
    await succeed(subject.follow.ask({ isBig: size === 'big' }))
    await expectState(subject.follow.leaves)
    await expectNoRemains(subject.previous.followed[leaves])
    // Not the very target that the next point begins with, though it looks like it.
    ready = undefined
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

  const expectWhole = async ({ leaves = 'before', isFollowed = false }: Point): Promise<void> => {
    await expectState(leaves)
    await expectNoRemains(subject.previous[leaves])
    if (isFollowed) await follow(leaves)
  }
  /** What the agent says of the target is what we see there. */
  const expectTold = async (point: Point, told: JobView, codes: string[]): Promise<void> => {
    if (point.leaves === 'after') {
      expect(told).toMatchObject({ state: 'succeeded', target_state: 'changed', result: { receipt: { job: told.id } } })
    } else {
      expect(told.code).toBeOneOf(codes)
      expect(told.target_state).toBeOneOf(['untouched', 'rolled_back'])
    }
    await expectWhole(point)
  }
  /** As a claim of a newer job does it. */
  const giveTargetAway = async (id: string): Promise<void> => {
    const client = await control.database.client()
    await client.query(
      `update multiboard.target_fences set fence = fence + 1
       where exclusive_key = (select exclusive_key from multiboard.jobs where id = $1)`,
      [id],
    )
    await client.end()
  }
  const expectTargetState = (stopped: Stopped, told: JobView, point: Point): void => {
    if (point.leaves === 'after') return
    const mayBeCommitted = stopped.step === 'committing'
    expect(told.target_state).toBe(mayBeCommitted ? 'rolled_back' : 'untouched')
  }
  /** Runs to the point, does what is told there, and answers what the control plane says in the end. */
  const act = async (point: Point, what: (stopped: Stopped, job: JobView) => Promise<void>): Promise<JobView> => {
    const { job, stopped } = await comeTo(point)
    await what(stopped, job)
    return await waitForEnd(job.id)
  }

  const kill: Matrix['kill'] = async (point) => {
    const { job, stopped } = await comeTo(point)
    await lane.daemon.kill()
    const { leaves = 'before' } = point
    // Nobody has tidied up yet: whoever reads the tables now sees one of the two already.
    expect(await readTarget(url, { owners, keys: 'unvalidated' })).toEqual(reference(leaves).unvalidated)
    await lane.boot()
    const told = await waitForEnd(job.id)
    expectTargetState(stopped, told, point)
    await expectTold(point, told, ['crashed'])
  }
  const reboot = async (): Promise<void> => {
    await lane.daemon.kill()
    await lane.boot()
    await until('the agent to tidy up', TIMEOUT_MS, async () => {
      const { asides, toValidate } = await readRemains(url)
      return toValidate === 0 && asides.every((name) => !name.includes('stage'))
    })
  }

  return {
    kill,
    killUntold: async (point) => {
      const told = await act(point, async (stopped, job) => {
        control.proxy.blackhole()
        stopped.release()
        await until('the end to be written down', TIMEOUT_MS, () => lane.lastStep(job.id) === 'finished')
        await lane.daemon.kill()
        await control.proxy.resume()
        await lane.boot()
      })
      await expectTold(point, told, [])
    },
    cut: async (point) => {
      const told = await act(point, async ({ gate }) => {
        await Promise.resolve()
        lane.gates[gate].cutAll()
      })
      // What a committed job has left undone is done at the next boot, at the latest.
      if (point.leaves === 'after' && point.gate !== 'store') await reboot()
      await expectTold(point, told, ['connection-lost', 'database-unreachable'])
    },
    cancel: async (point) => {
      const told = await act(point, async (stopped, job) => {
        // Reports come in batches: too late it is only for a control plane that has heard of the swap.
        if (point.leaves === 'after')
          await control.waitForEvent(job.id, 'job.phase', ({ phase }) => phase === 'swapping')
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
    supersede: async (point) => {
      const { job, stopped } = await comeTo(point)
      lane.daemon.send('SIGSTOP')
      // By the clock itself, and nobody has polled meanwhile.
      await until('the job to read as lost', TIMEOUT_MS, async () => (await control.job(job.id)).state === 'lost')
      expect((await control.job(job.id)).target_state).not.toBe('changed')
      await giveTargetAway(job.id)
      stopped.release()
      lane.daemon.send('SIGCONT')
      await until('the agent to end the job', TIMEOUT_MS, () => lane.lastStep(job.id) === 'finished')
      expect(lane.lastLine(job.id)).toMatchObject({
        result: { outcome: 'failed', code: 'fence-superseded', target_state: 'untouched' },
      })
      expect(await control.job(job.id)).toMatchObject({ state: 'lost' })
      await expectWhole(point)
    },
    cancelAfter: async (ms) => {
      await prepare({})
      const job = await subject.ask({})
      if (ms === 'its end') await waitForEnd(job.id)
      else {
        await until('the job to begin', TIMEOUT_MS, async () => (await control.job(job.id)).started_at !== null, 20)
        await sleep(ms)
      }
      const { status, body } = await control.call('POST', `/v1/jobs/${job.id}/cancel`)
      const askedAt = performance.now()
      const told = await waitForEnd(job.id)
      const seconds = (performance.now() - askedAt) / 1000
      const isChanged = told.state === 'succeeded'
      // It was too late, or over.
      if (status !== 200)
        expect([status, isChanged, ['too-late', 'job-finished']]).toEqual([
          409,
          true,
          expect.arrayContaining([body['code']]),
        ])
      if (!isChanged) {
        expect(told).toMatchObject({ state: 'canceled' })
        expect(told.target_state).toBeOneOf(['untouched', 'rolled_back'])
        expect(seconds, 'a cancel is heard soon').toBeLessThan(CANCEL_WITHIN_S)
      }
      await expectWhole({ where: 'before', leaves: isChanged ? 'after' : 'before' })
      expect((await control.call('POST', `/v1/jobs/${job.id}/cancel`)).status).toBe(isChanged ? 409 : 200)
      return told
    },
    under: async (point, open, codes) => {
      await prepare(point)
      {
        await using _bad = await open()
        const job = await subject.ask(point)
        await expectTold({ ...point, isFollowed: false }, await waitForEnd(job.id), codes)
      }
      if (point.isFollowed) await follow(point.leaves ?? 'before')
    },
  }
}
