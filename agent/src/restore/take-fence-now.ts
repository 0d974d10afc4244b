import type { Target } from '../postgres/open-target.ts'
import type { Load } from './load.ts'
import { rollBack } from './roll-back.ts'
import { takeFence } from './receipt.ts'

/** For engines that load beside, in a transaction of its own: an older agent, or a job that is done, makes nothing. */
export async function takeFenceNow({ session, database }: Target, load: Pick<Load, 'job' | 'fence'>): Promise<void> {
  try {
    await session.run('begin')
    await takeFence(session, { job: load.job, fence: load.fence, target: database.name })
    await session.run('commit')
  } catch (error) {
    await rollBack(session)
    throw error
  }
}
