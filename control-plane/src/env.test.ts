import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { SyncError } from '@multiboard-sync/shared/sync-error'
import { readDatabaseUrl, readEnv } from './env.ts'

const key = { kty: 'OKP', crv: 'Ed25519', x: 'public', d: 'private' }
const complete = {
  DATABASE_URL: 'postgres://user:hunter2@localhost/control',
  SIGNING_KEY: JSON.stringify(key),
  PUBLIC_URL: 'https://sync.example.com',
  ADMIN_TOKEN: 'x'.repeat(32),
}

function mistakesOf(env: NodeJS.ProcessEnv): SyncError {
  try {
    readEnv(env)
  } catch (error) {
    if (error instanceof SyncError) return error
    throw error
  }
  throw new Error('the environment was accepted')
}

test('what is not said has its default', () => {
  expect(readEnv({ ...complete, PORT: '', HOST: '' })).toEqual({
    databaseUrl: complete.DATABASE_URL,
    signingKey: key,
    publicUrl: complete.PUBLIC_URL,
    adminToken: complete.ADMIN_TOKEN,
    lease: { leaseMs: 90_000, graceMs: 30_000 },
    limits: { person: 1200, agent: 1200, stranger: 120 },
    host: '127.0.0.1',
    port: 8787,
    logLevel: 'info',
  })
})

test('all mistakes are told at once', () => {
  const { code, details } = mistakesOf({ PORT: 'x', LEASE_MS: '0' })
  expect(code).toBe('config-invalid')
  const names = details.map((line) => line.split(':')[0])
  expect(names).toEqual(['DATABASE_URL', 'SIGNING_KEY', 'PUBLIC_URL', 'PORT', 'LEASE_MS'])
})

test('no value is printed, however wrong', () => {
  const wrong = {
    DATABASE_URL: 'mysql://hunter2',
    SIGNING_KEY: '{hunter2',
    PUBLIC_URL: 'hunter2',
    ADMIN_TOKEN: 'hunter2',
  }
  const { details, message } = mistakesOf({ ...wrong, PORT: 'hunter2' })
  expect(details).toHaveLength(5)
  expect(`${message} ${details.join()}`).not.toContain('hunter2')
})

test('a key file that is not there is told without its path', () => {
  const { code, details, message } = mistakesOf({ SIGNING_KEY_FILE: '/nowhere/hunter2.json', PORT: 'x' })
  expect(code).toBe('config-invalid')
  expect(details.map((line) => line.split(':')[0])).toEqual(['SIGNING_KEY_FILE', 'DATABASE_URL', 'PUBLIC_URL', 'PORT'])
  expect(message).not.toContain('hunter2')
})

test('the address of a client is told by the header that the operator names', () => {
  expect(readEnv({ ...complete, CLIENT_ADDRESS_HEADER: 'X-Forwarded-For' }).addressHeader).toBe('x-forwarded-for')
  expect(readEnv(complete).addressHeader).toBeUndefined()
})

test('every variable may be given by a file, and not by both', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'env-'))
  const files: Record<string, string> = {}
  for (const [name, value] of Object.entries({ ...complete, PORT: '1234' })) {
    files[`${name}_FILE`] = join(folder, name)
    await writeFile(join(folder, name), `${value}\n`)
  }
  expect(readEnv(files)).toEqual({ ...readEnv(complete), port: 1234 })
  expect(readDatabaseUrl(files)).toBe(complete.DATABASE_URL)
  expect(() => readDatabaseUrl({ ...files, ...complete })).toThrow(/^DATABASE_URL_FILE: DATABASE_URL is set as well/)
  const { details } = mistakesOf({ ...files, ...complete })
  expect(details).toHaveLength(Object.keys(complete).length)
  expect(details.join()).not.toContain('hunter2')
  await rm(folder, { recursive: true })
})
