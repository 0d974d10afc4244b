import { expect, it } from 'vitest'
import { limitRequests } from './limit-requests.ts'

const never = new AbortController().signal
const settle = async (): Promise<void> => await new Promise((resolve) => setImmediate(resolve))

it('lets as many begin as it is told, and the others in their order', async () => {
  const take = limitRequests(2)
  const begun: number[] = []
  const ends = await Promise.all([take(never), take(never)])
  for (const n of [1, 2, 3]) {
    void take(never).then((end) => {
      begun.push(n)
      ends.push(end)
    })
  }
  await settle()
  expect(begun).toEqual([])
  ends[0]?.()
  ends[0]?.()
  await settle()
  expect(begun).toEqual([1])
  ends[1]?.()
  await settle()
  expect(begun).toEqual([1, 2])
})

it('who is aborted leaves the queue, and its turn goes to the next', async () => {
  const take = limitRequests(1)
  const end = await take(never)
  const abort = new AbortController()
  const gone = take(abort.signal)
  const next = take(never)
  abort.abort(new Error('canceled'))
  await expect(gone).rejects.toThrow('canceled')
  end()
  const endNext = await next
  endNext()
  await expect(take(never)).resolves.toBeTypeOf('function')
  await expect(take(abort.signal)).rejects.toThrow('canceled')
})
