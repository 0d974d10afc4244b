import { SyncError } from '@multiboard-sync/shared/sync-error'
import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { log, logFailure, setLogLevel } from './log.ts'

let written = ''
beforeEach(() => {
  written = ''
  vi.spyOn(process.stderr, 'write').mockImplementation((text) => {
    written += String(text)
    return true
  })
})
afterEach(() => {
  setLogLevel('info')
  vi.restoreAllMocks()
})

const records = (): Record<string, unknown>[] =>
  written
    .split('\n')
    .filter(Boolean)
    .map((line) => JSON.parse(line))

test('a record is one line of JSON with its level in words, its time and its message, and nothing of the machine', () => {
  log('warning', 'A "line"\nbreak.', { job: 'j1', hint: undefined, again_in_ms: 3 })
  expect(written.endsWith('\n')).toBe(true)
  const [record] = records()
  expect(records()).toHaveLength(1)
  expect(record).toEqual({
    level: 'warning',
    at: expect.any(String),
    message: 'A "line"\nbreak.',
    job: 'j1',
    again_in_ms: 3,
  })
  expect(new Date(String(record?.['at'])).toISOString()).toBe(record?.['at'])
})

test('what is below LOG_LEVEL is left out', () => {
  setLogLevel('warning')
  log('info', 'left out')
  log('warning', 'told')
  log('error', 'told')
  expect(records().map(({ message }) => message)).toEqual(['told', 'told'])
  setLogLevel('debug')
  log('info', 'told again')
  expect(records().at(-1)).toMatchObject({ level: 'info', message: 'told again' })
})

test('a failed job is told with its code and where it failed, and without the texts of its causes', () => {
  const cause = Object.assign(new TypeError('canary value'), { code: 'ECONNRESET' })
  logFailure('j1', new SyncError('query-failed', 'It failed.', { hint: 'Look.', details: ['one'], cause }))
  expect(written).not.toContain('canary')
  expect(records()[0]).toMatchObject({
    level: 'error',
    job: 'j1',
    code: 'query-failed',
    hint: 'Look.',
    details: ['one'],
  })
  expect(records()[0]?.['cause']).toContain('TypeError ECONNRESET')
})
