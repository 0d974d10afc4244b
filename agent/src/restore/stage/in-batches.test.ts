import { expect, test } from 'vitest'
import { inBatches } from './in-batches.ts'

/** Begins a batch when told to, and notes what went in it. */
function batches(most: number) {
  const gone: number[][] = []
  const starts: (() => void)[] = []
  const add = inBatches<number>(most, async (take) => {
    await new Promise<void>((start) => starts.push(start))
    gone.push(take())
  })
  return { add, gone, start: () => starts.shift()?.() }
}

test('what comes before a batch begins goes with it, and what comes later with the next one', async () => {
  const { add, gone, start } = batches(10)
  const first = [add(1), add(2)]
  start()
  await Promise.all(first)
  const second = add(3)
  start()
  await second
  expect(gone).toEqual([[1, 2], [3]])
})

test('a batch takes no more than it may', async () => {
  const { add, gone, start } = batches(2)
  const all = [1, 2, 3, 4, 5].map(add)
  for (let n = 0; n < 3; n += 1) start()
  await Promise.all(all)
  expect(gone).toEqual([[1, 2], [3, 4], [5]])
})

test('all of a batch that fails fail', async () => {
  const add = inBatches<number>(5, async (take) => {
    await Promise.resolve()
    take()
    throw new Error('no')
  })
  const ends = await Promise.allSettled([add(1), add(2)])
  expect(ends.map(({ status }) => status)).toEqual(['rejected', 'rejected'])
})
