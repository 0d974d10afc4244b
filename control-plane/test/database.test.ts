import { setTimeout as sleep } from 'node:timers/promises'
import { generateKeyPair, exportJWK } from 'jose'
import { signRequest } from '@multiboard-sync/shared/signed-request'
import { createDatabase } from '@multiboard-sync/shared/testing/test-database'
import { expect, test } from 'vitest'
import { registerAgent } from '../src/agents/register-agent.ts'
import { createApp } from '../src/create-app.ts'
import { defaultStreamTimes } from '../src/events/stream-events.ts'
import { makeOrderSigner } from '../src/orders/order-signer.ts'
import { migrate } from '../src/store/migrate.ts'
import { defaultRateLimits } from '../src/web/limit-rate.ts'
import { openDatabase, type Database } from '../src/store/open-database.ts'
import { adminToken, pollBody, policyOf } from './surroundings.ts'

test('an idle poll costs two statements and no transaction', async () => {
  await using testDatabase = await createDatabase()
  await using database = openDatabase(testDatabase.url, (error) => {
    throw error
  })
  await migrate(database)
  const statements: string[] = []
  const counting: Database = {
    ...database,
    query: async (sql, values) => {
      statements.push(sql)
      return await database.query(sql, values)
    },
    transaction: async () => {
      throw new Error('an idle poll needs no transaction')
    },
  }
  const keys = await generateKeyPair('EdDSA', { extractable: true })
  const origin = 'https://sync.example.com'
  const app = createApp({
    database: counting,
    signer: await makeOrderSigner(await exportJWK(keys.privateKey)),
    origin,
    adminToken,
    lease: { leaseMs: 1000, graceMs: 1000 },
    stream: defaultStreamTimes,
    limits: defaultRateLimits,
    addressHeader: undefined,
    stopping: new AbortController().signal,
    log: (record) => {
      if (record['event'] !== 'request') throw new Error(JSON.stringify(record))
    },
  })
  const { x = '' } = await exportJWK(keys.publicKey)
  await registerAgent(database, { id: 'vps', public_jwk: { kty: 'OKP', crv: 'Ed25519', x } }, 'admin')
  const body = JSON.stringify(pollBody(policyOf()))
  const path = '/v1/agent/poll'
  const authorization = await signRequest({ method: 'POST', path, body, origin }, 'vps', keys.privateKey)
  const polled = await app.request(path, { method: 'POST', headers: { authorization }, body })
  expect(polled.status).toBe(200)
  expect(statements.length).toBeLessThanOrEqual(2)
})

test('two processes that start together migrate once', async () => {
  await using testDatabase = await createDatabase()
  const throwing = (error: Error): never => {
    throw error
  }
  await using one = openDatabase(testDatabase.url, throwing)
  await using two = openDatabase(testDatabase.url, throwing)
  const ran = await Promise.all([migrate(one), migrate(two), migrate(two)])
  expect(ran.filter((names) => names.length > 0)).toHaveLength(1)
  expect(await migrate(one)).toEqual([])
})

test('a connection that breaks in the middle of a transaction fails that transaction alone', async () => {
  await using testDatabase = await createDatabase()
  const idleErrors: Error[] = []
  await using database = openDatabase(testDatabase.url, (error) => void idleErrors.push(error))
  const killer = await testDatabase.client()
  const broken = database.transaction(async ({ query }) => {
    const [row] = await query<{ pid: number }>('select pg_backend_pid() as pid')
    await killer.query('select pg_terminate_backend($1)', [row?.pid])
    await sleep(100)
    await query('select 1')
  })
  await expect(broken).rejects.toThrow(/terminat|not queryable/)
  expect(await database.query('select 1 as one')).toEqual([{ one: 1 }])
})

test('nothing of a transaction that fails stays, and its connection is used again', async () => {
  await using testDatabase = await createDatabase({ sql: 'create table t (n int primary key)' })
  await using database = openDatabase(testDatabase.url, (error) => {
    throw error
  })
  for (let n = 0; n < 5; n += 1) {
    const failing = database.transaction(async ({ query }) => {
      await query('insert into t values (1)')
      await query('insert into t values (1)')
    })
    await expect(failing).rejects.toThrow('duplicate key')
  }
  expect(await database.query('select * from t')).toEqual([])
})
