import { EventEmitter } from 'node:events'
import { expect, test } from 'vitest'
import { watchSignals } from './watch-signals.ts'

function scene(isDaemon: boolean) {
  const source = new EventEmitter()
  const ends: number[] = []
  let now = 0
  const { first, second } = watchSignals(
    isDaemon,
    source,
    (code) => void ends.push(code),
    () => now,
  )
  return {
    /** So long after the signal before. */
    send: (name: 'SIGINT' | 'SIGTERM', afterMs: number) => {
      now += afterMs
      source.emit(name)
      return { first: first.aborted, second: second.aborted, ends: [...ends] }
    },
  }
}

test('a command stops safely at the first signal, and at once at the second', () => {
  const { send } = scene(false)
  expect(send('SIGINT', 100)).toEqual({ first: true, second: false, ends: [] })
  expect(send('SIGINT', 1_000)).toEqual({ first: true, second: false, ends: [130] })
})

test('one Ctrl-C that comes twice, as through a package manager, is one', () => {
  const { send } = scene(false)
  send('SIGINT', 100)
  expect(send('SIGINT', 5)).toEqual({ first: true, second: false, ends: [] })
  expect(send('SIGTERM', 1_000)).toMatchObject({ ends: [130] })
})

test('a daemon goes on with its job at the first, cancels it at the second, and ends at once at the third', () => {
  const { send } = scene(true)
  expect(send('SIGTERM', 100)).toEqual({ first: true, second: false, ends: [] })
  expect(send('SIGTERM', 5)).toEqual({ first: true, second: true, ends: [] })
  expect(send('SIGINT', 999)).toMatchObject({ ends: [] })
  expect(send('SIGINT', 1)).toMatchObject({ ends: [130] })
})
