import type { JobView } from '@multiboard-sync/shared/protocol'
import { until } from '../../../shared/testing/postgres/deadline.ts'
import type { Lane } from './open-lane.ts'
import type { Subject } from './open-matrix.ts'
import type { Point } from './points.ts'
import { IN_THE_JOB, shop, SMALL } from './shop.ts'

const TIMEOUT_MS = 60_000
const SYNC = { kind: 'sync', source: 'production', target: 'staging' }

/** A sync by one engine. */
export function syncBy(lane: Lane, engine: 'swap' | 'merge' | 'truncate' | 'create'): Subject {
  const tables = engine === 'create' ? SMALL : IN_THE_JOB
  const ask = async (by: string, { isBig }: Pick<Point, 'isBig'>): Promise<JobView> =>
    await lane.control.ask({ ...SYNC, engine: by, ...(isBig ? {} : { tables }) })
  return {
    engine,
    owners: engine !== 'create',
    previous: {
      before: 0,
      after: engine === 'swap' ? 1 : 0,
      // What is not there yet is created once more, and what is there is swapped.
      followed: { before: engine === 'swap' ? 1 : 0, after: engine === 'swap' || engine === 'create' ? 1 : 0 },
    },
    reset: async ({ isBig }) => {
      await lane.reset(await (engine === 'create' ? shop.empty() : isBig ? shop.bigTarget() : shop.target()))
    },
    ask: async (point) => await ask(engine, point),
    follow: { ask: async (point) => await ask(engine === 'create' ? 'auto' : engine, point), leaves: 'after' },
  }
}

/** The undo of a swap: the same one is undone again and again. */
export async function undoOfSwap(lane: Lane): Promise<Subject> {
  await lane.reset(await shop.target())
  const job = await lane.control.ask({ ...SYNC, engine: 'swap', tables: IN_THE_JOB })
  await lane.control.waitFor(job.id, 'succeeded')
  const swapped = await lane.keepTarget()
  return {
    engine: 'undo',
    owners: true,
    previous: { before: 1, after: 1, followed: { before: 1, after: 1 } },
    reset: async () => {
      await lane.reset(swapped)
      // A job is undone once; the target does not know of it any more.
      const client = await lane.control.database.client()
      await client.query("update multiboard.jobs set target_state = 'untouched' where kind = 'undo'")
      await client.end()
    },
    ask: async () => await undo(lane, job.id),
    follow: {
      ask: async () => await lane.control.ask({ ...SYNC, engine: 'swap', tables: IN_THE_JOB }),
      leaves: 'before',
    },
  }
}

/** The target's own record is what a second undo goes by: it is refused there, or undoes the undo. */
async function undo(lane: Lane, id: string): Promise<JobView> {
  return await until('an undo to be taken', TIMEOUT_MS, async () => {
    const { status, body } = await lane.control.call('POST', `/v1/jobs/${id}/undo`, {})
    if (status === 201) return body as unknown as JobView
    if (body['code'] === 'conflict') return undefined
    throw new Error(`the undo was not taken: ${JSON.stringify(body)}`)
  })
}
