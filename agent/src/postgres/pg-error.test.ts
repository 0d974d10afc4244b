import { SyncError } from '@multiboard-sync/shared/sync-error'
import { expect, test } from 'vitest'
import { fromPgError } from './pg-error.ts'

/** As node-pg throws it. */
function serverError(fields: Record<string, unknown>): Error {
  return Object.assign(new Error('a value: hunter2'), fields)
}

const said = ({ message, hint, details }: SyncError) => [message, hint, ...details].join('\n')

test.each([
  ['28P01', 'database-auth', false],
  ['3D000', 'database-missing', false],
  ['53300', 'database-unreachable', true],
  ['57P01', 'connection-lost', true],
  ['08006', 'connection-lost', true],
  ['42501', 'permission-denied', false],
  ['25006', 'database-read-only', false],
  ['55P03', 'lock-timeout', true],
  ['40P01', 'lock-timeout', true],
  ['57014', 'lock-timeout', true],
  ['53100', 'disk-full', false],
  ['23505', 'constraint-violated', false],
  ['22P02', 'query-failed', false],
  ['ZZ999', 'query-failed', false],
])('SQLSTATE %s is %s, and its message is kept back', (code, expected, retryable) => {
  const error = fromPgError(
    serverError({ code, where: 'SQL function "f"', detail: 'hunter2', hint: 'hunter2' }),
    'testing',
  )
  expect(error).toMatchObject({ code: expected, retryable })
  expect(error.message).toContain(code)
  expect(said(error)).not.toContain('hunter2')
  expect(error.hint).not.toBe('')
})

test('Table, column, constraint and the line of a COPY are named', () => {
  const where = 'COPY Component, line 17, column price: "hunter2"\nPL/pgSQL function f() line 99 at RAISE'
  const fields = { code: '23514', schema: 'public', table: 'Component', column: 'price', constraint: 'positive', where }
  const error = fromPgError(serverError(fields), 'copying public.Component')
  expect(error.message).toBe(
    'PostgreSQL reported check_violation (23514) while copying public.Component, table public.Component, column price, constraint positive, line 17.',
  )
})

test.each([
  [Object.assign(new Error('read ECONNRESET'), { code: 'ECONNRESET' })],
  [Object.assign(new Error('write EPIPE'), { code: 'EPIPE' })],
  [new Error('Connection terminated unexpectedly')],
  [new Error('Client has encountered a connection error and is not queryable')],
])('%s is a lost connection', (thrown) => {
  expect(fromPgError(thrown, 'testing')).toMatchObject({ code: 'connection-lost', retryable: true, cause: thrown })
})

test('A SyncError stays what it is, and anything else says nothing of itself', () => {
  const known = new SyncError('lease-lost', 'The lease was lost.')
  expect(fromPgError(known, 'testing')).toBe(known)
  for (const thrown of [new Error('hunter2'), 'hunter2', undefined, { code: 7 }]) {
    const error = fromPgError(thrown, 'testing')
    expect(error).toMatchObject({ code: 'query-failed', retryable: false })
    expect(said(error)).not.toContain('hunter2')
  }
})
