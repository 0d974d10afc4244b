import { setImmediate } from 'node:timers/promises'
import { expect, test } from 'vitest'
import { SyncError } from '@multiboard-sync/shared/sync-error'
import type { Session } from '../postgres/session.ts'
import { allOf, openLanes, type Door, type Task } from './lanes.ts'
import { createTrace } from './trace.ts'

const never = new AbortController().signal

function lanesOf(count: number, signal = never) {
  const trace = createTrace()
  return { trace, lanes: openLanes({ count, signal, trace }) }
}

function task(name: string, urgency = 0): Task {
  return { kind: 'copy', name, urgency }
}

/** Ends when told to. */
function gate() {
  const { promise, resolve, reject } = Promise.withResolvers<void>()
  return { wait: async () => await promise, open: () => resolve(), fail: (error: Error) => reject(error) }
}

/** A session that only notes how it ended. */
function doorTo(database: string, log: string[], kind: string): Door {
  return {
    database,
    open: async () => {
      log.push(`open ${kind}`)
      return {
        close: async () => void log.push(`close ${kind}`),
        destroy: () => void log.push(`destroy ${kind}`),
      } as unknown as Session
    },
  }
}

test('no more tasks run at once than there are lanes', async () => {
  await using made = lanesOf(2).lanes
  const gates = [gate(), gate(), gate()]
  const begun: number[] = []
  const all = gates.map(async (one, index) => {
    await made.run(task(String(index)), async () => {
      begun.push(index)
      await one.wait()
    })
  })
  await Promise.resolve()
  expect(begun).toEqual([0, 1])
  gates[1]?.open()
  await all[1]
  await setImmediate()
  expect(begun).toEqual([0, 1, 2])
  for (const one of gates) one.open()
  await allOf(all)
})

test('of the tasks that wait the most urgent goes first, and of equals the one that came first', async () => {
  await using made = lanesOf(1).lanes
  const first = gate()
  const order: string[] = []
  const run = async (name: string, urgency: number) =>
    await made.run(task(name, urgency), async () => void order.push(name))
  const all = [made.run(task('first'), first.wait), run('a', 1), run('b', 3), run('c', 2), run('d', 3)]
  first.open()
  await allOf<unknown>(all)
  expect(order).toEqual(['b', 'd', 'c', 'a'])
})

test('the first failure is what every task fails with, and stops those that run through the signal', async () => {
  const { lanes, trace } = lanesOf(2)
  await using made = lanes
  const cause = new SyncError('load-failed', 'no')
  const fails = gate()
  const stopped = made.run(task('long'), async () => {
    await new Promise((_resolve, reject) => made.signal.addEventListener('abort', () => reject(new Error('echo'))))
  })
  const failing = made.run(task('bad'), fails.wait)
  const waiting = made.run(task('never begun'), async () => undefined)
  fails.fail(cause)
  const results = await Promise.allSettled([stopped, failing, waiting, made.run(task('late'), async () => undefined)])
  expect(results.map((one) => (one.status === 'rejected' ? one.reason : one))).toEqual([cause, cause, cause, cause])
  expect(trace.spans().map(({ name, failed }) => [name, failed])).toEqual([
    ['long', true],
    ['bad', true],
  ])
})

test('when the job is canceled, what waits and what runs fails with the reason of that', async () => {
  const stop = new AbortController()
  await using made = lanesOf(1, stop.signal).lanes
  const reason = new SyncError('canceled', 'somebody said so')
  const running = made.run(task('runs'), async () => {
    await new Promise((_resolve, reject) => made.signal.addEventListener('abort', () => reject(new Error('cut'))))
  })
  const waiting = made.run(task('waits'), async () => undefined)
  stop.abort(reason)
  const results = await Promise.allSettled([running, waiting])
  expect(results.map((one) => (one.status === 'rejected' ? one.reason : one))).toEqual([reason, reason])
})

test('a lane keeps its session for the next task, and has one to a database at a time', async () => {
  const log: string[] = []
  const [loads, reads, source] = [
    doorTo('staging', log, 'load'),
    doorTo('staging', log, 'read'),
    doorTo('production', log, 'source'),
  ]
  {
    await using made = lanesOf(3).lanes
    for (const door of [loads, source, loads, reads]) {
      await made.run(task('one'), async (lane) => void (await lane.session(door)))
    }
  }
  expect(log).toEqual(['open load', 'open source', 'close load', 'open read', 'close source', 'close read'])
})

test('a session that was dropped is cut, and the next task gets a new one', async () => {
  const log: string[] = []
  const loads = doorTo('staging', log, 'load')
  {
    await using made = lanesOf(1).lanes
    await made.run(task('one'), async (lane) => {
      await lane.session(loads)
      lane.drop(loads)
      await lane.session(loads)
    })
  }
  expect(log).toEqual(['open load', 'destroy load', 'open load', 'close load'])
})

test('after a failure the sessions are cut, not waited for', async () => {
  const log: string[] = []
  const loads = doorTo('staging', log, 'load')
  {
    await using made = lanesOf(1).lanes
    const failed = made.run(task('one'), async (lane) => {
      await lane.session(loads)
      throw new SyncError('load-failed', 'no')
    })
    await expect(failed).rejects.toMatchObject({ code: 'load-failed' })
  }
  expect(log).toEqual(['open load', 'destroy load'])
})

test('what a task was waited for goes before what is less urgent and has waited for longer', async () => {
  await using made = lanesOf(1).lanes
  const order: string[] = []
  const note = (name: string, urgency: number) =>
    made.run(task(name, urgency), async () => {
      order.push(name)
    })
  const first = note('first', 1)
  const follower = allOf([first]).then(async () => await note('follower', 9))
  await allOf([first, note('waiting', 5), follower])
  expect(order).toEqual(['first', 'follower', 'waiting'])
})

test('work beside the lanes that fails ends the tasks too, with its failure', async () => {
  await using made = lanesOf(1).lanes
  const running = made.run(task('one'), async () => {
    await new Promise((_, fail) => made.signal.addEventListener('abort', () => fail(new Error('an echo'))))
  })
  const beside = made.watch(Promise.reject(new SyncError('row-drop', 'too few')))
  for (const end of await Promise.allSettled([running, beside, made.run(task('late'), async () => undefined)])) {
    expect(end).toMatchObject({ status: 'rejected', reason: { code: 'row-drop' } })
  }
})

test('what still waits or works when the lanes are given up is stopped, and has ended before they are', async () => {
  const log: string[] = []
  const ends: Promise<unknown>[] = []
  {
    await using made = lanesOf(1).lanes
    const stopped = async (): Promise<void> => {
      await new Promise((_, fail) => made.signal.addEventListener('abort', () => fail(new Error('an echo'))))
    }
    ends.push(made.run(task('works'), stopped).finally(() => log.push('ended')))
    ends.push(made.run(task('waits'), async () => void log.push('begun')))
    for (const end of ends) end.catch(() => undefined)
  }
  log.push('given up')
  for (const end of ends) await expect(end).rejects.toMatchObject({ code: 'canceled' })
  expect(log).toEqual(['ended', 'given up'])
})

test('lanes that rest have no connections, and open new ones for the next task', async () => {
  const log: string[] = []
  const loads = doorTo('staging', log, 'load')
  {
    await using made = lanesOf(2).lanes
    const open = async (): Promise<void> =>
      void (await made.run(task('one'), async (lane) => await lane.session(loads)))
    await open()
    await made.rest()
    expect(log).toEqual(['open load', 'close load'])
    await open()
  }
  expect(log).toEqual(['open load', 'close load', 'open load', 'close load'])
})

test('what is waited for together has all ended before the first failure is thrown', async () => {
  const slow = gate()
  let ended = false
  const all = allOf([
    Promise.reject(new SyncError('load-failed', 'no')),
    slow.wait().then(() => {
      ended = true
    }),
  ])
  slow.open()
  await expect(all).rejects.toMatchObject({ code: 'load-failed' })
  expect(ended).toBe(true)
})

test('a trace tells what ran when, also of what has not ended', () => {
  let now = 100
  const trace = createTrace(() => now)
  const end = trace.begin(1, 'copy', 'public.a')
  now = 150
  trace.begin(0, 'phase', 'loading')
  now = 175
  end('ended')
  end('failed')
  now = 200
  expect(trace.spans()).toEqual([
    { lane: 1, kind: 'copy', name: 'public.a', begin_ms: 0, end_ms: 75 },
    { lane: 0, kind: 'phase', name: 'loading', begin_ms: 50, end_ms: 100 },
  ])
})
