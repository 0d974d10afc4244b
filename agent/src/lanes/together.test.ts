import { setTimeout as sleep } from 'node:timers/promises'
import { SyncError } from '@multiboard-sync/shared/sync-error'
import { expect, test } from 'vitest'
import { together } from './together.ts'

const forever = async (signal: AbortSignal): Promise<never> => {
  await sleep(60_000, undefined, { signal }).catch(() => undefined)
  throw new SyncError('canceled', 'The work was stopped.')
}
const failing = async (): Promise<never> => {
  await sleep(1)
  throw new SyncError('query-failed', 'The first failure.')
}

test('both are answered, in their order', async () => {
  const answer = together(
    new AbortController().signal,
    async () => await sleep(5, 'one'),
    async () => await sleep(1, 'other'),
  )
  expect(await answer).toEqual(['one', 'other'])
})

test('the first failure stops the other one and is thrown, whichever of them fails', async () => {
  const { signal } = new AbortController()
  await expect(together(signal, failing, forever)).rejects.toMatchObject({ code: 'query-failed' })
  await expect(together(signal, forever, failing)).rejects.toMatchObject({ code: 'query-failed' })
})

test('nothing goes on when it throws', async () => {
  let isOver = false
  const slow = async (signal: AbortSignal): Promise<void> => {
    await sleep(60_000, undefined, { signal }).catch(() => undefined)
    await sleep(20)
    isOver = true
  }
  await expect(together(new AbortController().signal, failing, slow)).rejects.toMatchObject({ code: 'query-failed' })
  expect(isOver).toBe(true)
})

test('a job that is canceled stops both and is told why', async () => {
  const job = new AbortController()
  const both = together(job.signal, forever, forever)
  const told = expect(both).rejects.toMatchObject({ code: 'lease-lost' })
  job.abort(new SyncError('lease-lost', 'The lease ran out.'))
  await told
})
