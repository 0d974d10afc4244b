import { execFile } from 'node:child_process'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { startPostgres } from '@multiboard-sync/shared/testing/postgres'
import { createDatabase } from '@multiboard-sync/shared/testing/test-database'
import { calculateJwkThumbprint } from 'jose'
import pg from 'pg'
import { expect, test } from 'vitest'
import { until } from '../../shared/testing/postgres/deadline.ts'
import { freePort } from '../../shared/testing/postgres/free-port.ts'
import { readState } from './road/compare-databases.ts'
import { startDaemon } from './road/daemon.ts'
import { openWorld, writeTrust, type World } from './road/world.ts'
import { keysCommand, newSigningKey, startPlane } from './recovery/plane.ts'

/* The control plane's database is gone, with and without a backup. Agents, databases and bucket are as they were. */

const SQL = `
create table public.part (id int primary key, name text not null);
insert into public.part select n, 'part-' || n from generate_series(1, 500) n;`

const run = promisify(execFile)
const SYNC = { kind: 'sync', source: 'production', target: 'staging' }
const POLL_MS = 40_000

async function receiptsOf(world: World, job: string): Promise<number> {
  const client = await world.target.client()
  const { rows } = await client.query('select 1 from multiboard_sync.receipts where job = $1', [job])
  return rows.length
}

test('without a backup a new control plane with a new key has its agents enrolled again, its archives back from the bucket, and jobs that run', async () => {
  await using world = await openWorld({ source: { sql: SQL } })
  const port = await freePort()
  const key = await newSigningKey()
  await writeTrust(world.dir, [key.publicJwk])
  const env = { ...world.env, CONTROL_PLANE_URL: `http://127.0.0.1:${port}` }
  await using lostDatabase = await createDatabase()
  const first = await startPlane({ databaseUrl: lostDatabase.url, key, port })
  await using daemon = await (async () => {
    await using _stop = first
    expect((await world.agent(['enroll', '--code', await first.invite('vps1')], env)).code).toBe(0)
    const started = await startDaemon(env)
    const synced = await first.ended((await first.ask(SYNC)).id)
    expect(synced).toMatchObject({ state: 'succeeded' })
    return started
  })()
  const archives = (await world.agent(['archives', '--json'], env)).json?.['archives'] as { id: string }[]
  expect(archives.length).toBeGreaterThan(0)

  // Nothing is left of it, its key included. The agent's process goes on asking.
  const newKey = await newSigningKey()
  await using database = await createDatabase()
  await using plane = await startPlane({ databaseUrl: database.url, key: newKey, port })
  expect(plane.token).toMatch(/^mbs_/)
  await until('the agent to be refused', POLL_MS, async () => daemon.log().includes('unauthorized'))

  const enrolled = await world.agent(['enroll', '--code', await plane.invite('vps1'), '--json'], env)
  const kid = await calculateJwkThumbprint(newKey.publicJwk)
  expect(enrolled.json).toMatchObject({ made_key: false, signing_kid: kid, trusts_signing_key: false })
  const doctor = await world.agent(['doctor'], env)
  expect(doctor.stdout).toMatch(new RegExp(`^FAIL {2}control plane: order-unknown-key: .+${kid}`, 'm'))
  const pub = join(world.dir, 'control-plane.pub.json')
  await writeFile(pub, JSON.stringify(newKey.publicJwk))
  await keysCommand('trust', join(world.dir, 'trust.json'), pub)
  await keysCommand('revoke', join(world.dir, 'trust.json'), await calculateJwkThumbprint(key.publicJwk))
  expect((await world.agent(['doctor'], env)).stdout).toMatch(/All is well\.\n$/)
  daemon.send('SIGHUP')

  const ids = archives.map(({ id }) => id).toSorted((a, b) => (a < b ? -1 : 1))
  await until('the archives from the bucket', POLL_MS, async () => {
    return JSON.stringify(await plane.archives()) === JSON.stringify(ids)
  })
  const newest = archives.find(({ id }) => id.includes('-production-'))?.id
  const restored = await plane.ended((await plane.ask({ kind: 'restore', archive: newest, target: 'staging' })).id)
  expect(restored).toMatchObject({ state: 'succeeded', target_state: 'changed' })
  const synced = await plane.ended((await plane.ask(SYNC)).id)
  expect(synced).toMatchObject({ state: 'succeeded', target_state: 'changed' })
  expect((await readState(world.target.url)).tables).toEqual((await readState(world.source.url)).tables)
}, 600_000)

/** pg_dump reads servers up to its own major version; 0: there is none. */
const major = await run('pg_dump', ['--version']).then(
  ({ stdout }) => Number(/ (\d+)\./.exec(stdout)?.[1] ?? 0),
  () => 0,
)
const hasDump = major >= 13
if (!hasDump) console.log('the drill with a backup is skipped: pg_dump and pg_restore are not on this machine')

/** As docs/OPERATION.md says it, "Back up the control plane". */
async function backUp(url: string, file: string): Promise<void> {
  await run('pg_dump', ['--format=custom', '--no-owner', `--file=${file}`, url])
}
async function bringBack(file: string, url: string): Promise<void> {
  await run('pg_restore', ['--no-owner', '--exit-on-error', '--single-transaction', `--dbname=${url}`, file])
}

test.skipIf(!hasDump)(
  'from a backup it goes on where that was made: agents stay in, newer archives come back, and what was done since is not done again',
  async () => {
    await using world = await openWorld({ source: { sql: SQL } })
    const port = await freePort()
    const key = await newSigningKey()
    await writeTrust(world.dir, [key.publicJwk])
    const env = { ...world.env, CONTROL_PLANE_URL: `http://127.0.0.1:${port}` }
    const file = join(world.dir, 'control-plane.dump')
    await using server = await startPostgres({ major: Math.min(major, 18) })
    const [lost, restored] = [server.url('lost'), server.url('restored')]
    const client = new pg.Client({ connectionString: server.url('postgres') })
    await client.connect()
    for (const name of ['lost', 'restored']) await client.query(`create database ${name} template template0`)
    await client.end()
    const first = await startPlane({ databaseUrl: lost, key, port })
    const { token } = first
    let job = ''
    await using daemon = await (async () => {
      await using _stop = first
      expect((await world.agent(['enroll', '--code', await first.invite('vps1')], env)).code).toBe(0)
      const early = await startDaemon(env)
      expect(await first.ended((await first.ask(SYNC)).id)).toMatchObject({ state: 'succeeded' })
      early.send('SIGTERM')
      await early.exited()
      // Asked for when the backup is made, and done after it.
      job = (await first.ask(SYNC)).id
      await backUp(lost, file)
      const late = await startDaemon(env)
      expect(await first.ended(job)).toMatchObject({ state: 'succeeded' })
      return late
    })()
    const archives = (await world.agent(['archives', '--json'], env)).json?.['archives'] as { id: string }[]

    await bringBack(file, restored)
    await using plane = await startPlane({ databaseUrl: restored, key, port, token })
    expect((await plane.call('GET', '/v1/audit/verify')).body).toMatchObject({ ok: true })
    const known = await plane.archives()
    expect(known.length).toBeLessThan(archives.length)

    // It orders again what it does not know to be done; the agent does.
    expect(await plane.ended(job)).toMatchObject({ state: 'refused', code: 'order-replayed' })
    expect(await receiptsOf(world, job)).toBe(1)
    daemon.send('SIGHUP')
    await until('the archives since the backup', POLL_MS, async () => {
      return (await plane.archives()).length === archives.length
    })
    const next = await plane.ended((await plane.ask(SYNC)).id)
    expect(next).toMatchObject({ state: 'succeeded', target_state: 'changed' })
  },
  600_000,
)
