import { readFile } from 'node:fs/promises'
import { signRequest } from '@multiboard-sync/shared/signed-request'
import { exportJWK, generateKeyPair } from 'jose'
import pg from 'pg'
import { expect, test } from 'vitest'
import { startControlPlane } from '../src/start-control-plane.ts'
import { policyOf, pollBody, post, startSurroundings, type Answer } from './surroundings.ts'

test('a database with jobs of the version before is migrated by two instances at once, and its jobs go on', async () => {
  const makeOld = async (url: string): Promise<void> => {
    const client = new pg.Client({ connectionString: url })
    await client.connect()
    const folder = new URL('../src/store/sql/', import.meta.url)
    await client.query('create schema multiboard')
    await client.query('create table multiboard.migrations (name text primary key, at timestamptz default now())')
    for (const name of ['0001_jobs.sql', '0002_undo.sql']) {
      await client.query(await readFile(new URL(name, folder), 'utf8'))
      await client.query('insert into multiboard.migrations (name) values ($1)', [name])
    }
    await client.query(oldRows, [JSON.stringify(old.jwk)])
    await client.query(
      "insert into multiboard.idempotency_keys (actor, key, request_sha256, job) values ('admin', 'k', 'x', 'j1')",
    )
    await client.end()
  }
  const pair = await generateKeyPair('EdDSA', { extractable: true })
  const old = { key: pair.privateKey, jwk: await exportJWK(pair.publicKey) }
  await using upgraded = await startSurroundings(
    {},
    {
      start: async (options) => {
        await makeOld(options.databaseUrl)
        const [one, other] = await Promise.all([startControlPlane(options), startControlPlane(options)])
        await other.close()
        return one
      },
    },
  )
  const call = async (path: string, body: unknown): Promise<Answer> => {
    const text = JSON.stringify(body)
    const facts = { method: 'POST', path, body: text, origin: upgraded.control.url }
    return await post(`${upgraded.control.url}${path}`, text, await signRequest(facts, 'vps', old.key))
  }
  const report = { epoch: 1, phase: 'loading', stalled_ms: 0, events: [] }
  expect(await call('/v1/agent/jobs/j00000000000a/report', report)).toMatchObject({ status: 200 })
  expect(await call('/v1/agent/poll', pollBody(policyOf()))).toMatchObject({ status: 200 })
  expect(await upgraded.person('POST', '/v1/jobs/j00000000000b/cancel')).toMatchObject({ status: 200 })
  const result = {
    outcome: 'succeeded',
    target_state: 'changed',
    tables: 1,
    rows: 1,
    bytes: 1,
    seconds: 1,
    peak_rss_mb: 1,
  }
  const complete = { epoch: 1, result, last_aseq: 0 }
  expect(await call('/v1/agent/jobs/j00000000000a/complete', complete)).toMatchObject({ status: 200 })
  const { body } = await upgraded.person('GET', '/v1/audit/verify')
  expect(body).toMatchObject({ ok: true })
  expect((await upgraded.person('GET', '/v1/jobs')).body.jobs).toHaveLength(2)
  expect(upgraded.logged).toEqual([])
})

const oldRows = `
  with agent as (
    insert into multiboard.agents (id, public_jwk, key_thumbprint) values ('vps', $1, 'old') returning id
  ), fence as (
    insert into multiboard.target_fences (exclusive_key, fence) values ('target:staging', 5)
  )
  insert into multiboard.jobs
    (id, agent, kind, params, requested_by, start_before, state, exclusive_key, epoch, fence, lease_expires_at, lost_at)
  select job, agent.id, 'sync', '{"kind":"sync","source":"production","target":"staging","tables":["**"],"engine":"auto"}',
    'admin', now() + interval '1 hour', state, 'target:staging', epoch, fence, until, until
  from agent, (values
    ('j00000000000a', 'running', 1, 5, now() + interval '1 minute'), ('j00000000000b', 'queued', 0, null, null)
  ) as old (job, state, epoch, fence, until)
`
