import { mkdir, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { createDatabase } from '@multiboard-sync/shared/testing/test-database'
import { expect, test } from 'vitest'
import { freePort } from '../../shared/testing/postgres/free-port.ts'
import { until } from '../../shared/testing/postgres/deadline.ts'
import { openSession } from '../src/postgres/session.ts'
import { asideOf, createAside } from '../src/restore/stage/aside.ts'
import { readState } from './road/compare-databases.ts'
import { startDaemon } from './road/daemon.ts'
import { openWorld, POLICY, writeTrust } from './road/world.ts'
import { keysCommand, newSigningKey, startPlane } from './recovery/plane.ts'

/*
 * The agent's machine is gone: its state folder, its key, its policy. What is left is the control plane, the bucket, the
 * databases, and what docs/OPERATION.md, "Recovery from nothing", says to keep elsewhere: agent.yaml, the environment, and the
 * public half of the control plane's key.
 */

const SQL = `
create table public.part (id int primary key, name text not null);
insert into public.part select n, 'part-' || n from generate_series(1, 500) n;`
const OLD = `
create table public.part (id int primary key, name text not null);
insert into public.part values (1, 'old');`

test("after its machine was lost, an agent comes back under its name, trusts its former self's archives, and cleans up behind it", async () => {
  await using world = await openWorld({ source: { sql: SQL }, target: { sql: OLD } })
  await using database = await createDatabase()
  const key = await newSigningKey()
  await using plane = await startPlane({ databaseUrl: database.url, key, port: await freePort() })
  await writeTrust(world.dir, [key.publicJwk])
  const env = { ...world.env, CONTROL_PLANE_URL: plane.url }
  const before = await readState(world.target.url)

  // Before: a sync through the control plane, and a stage that a killed agent leaves.
  expect((await world.agent(['enroll', '--code', await plane.invite('vps1')], env)).code).toBe(0)
  let job: string
  let archive: string
  {
    await using daemon = await startDaemon(env)
    const asked = await plane.ask({ kind: 'sync', source: 'production', target: 'staging' })
    const synced = await plane.ended(asked.id)
    expect(synced).toMatchObject({ state: 'succeeded', target_state: 'changed' })
    job = asked.id
    archive = synced.result?.archive?.id ?? ''
    await daemon.kill()
  }
  const lostStage = 'jzzzzzzzzzzzz'
  {
    const url = { name: 'staging', url: world.target.url, viaProxy: false }
    await using session = await openSession(url, { purpose: 'test', signal: AbortSignal.timeout(20_000) })
    await createAside(session, asideOf('stage', lostStage, ['public']))
    await session.run(`create table multiboard_sync_stage_${lostStage}_1.part (id int)`)
  }
  const former = await readFormerKid(plane)

  // The machine is lost.
  await rm(world.dir, { recursive: true })

  // A new machine: what was kept elsewhere, and a new code.
  await mkdir(world.dir)
  await world.writePolicy(POLICY)
  await writeTrust(world.dir, [key.publicJwk])
  const enrolled = await world.agent(['enroll', '--code', await plane.invite('vps1')], env)
  expect([enrolled.code, enrolled.stdout]).toEqual([0, expect.stringContaining('made in')])

  // Nothing that its former self signed is believed before somebody says so.
  const refused = await world.agent(['restore', archive, '--to', 'staging', '--json'], env)
  expect(refused).toMatchObject({ code: 3, json: { code: 'archive-untrusted', target_state: 'untouched' } })
  const keys = await world.agent(['archives', 'keys', '--json'], env)
  const [signer] = (keys.json?.['keys'] ?? []) as { kid: string; trust: string; agent: string; public_jwk: object }[]
  expect(signer).toMatchObject({ kid: former, trust: 'unknown', agent: 'vps1' })
  const pub = join(world.dir, 'former.pub.json')
  await writeFile(pub, JSON.stringify(signer?.public_jwk))
  expect(await keysCommand('trust', join(world.dir, 'trust.json'), pub, '--use', 'archive')).toContain(former)
  expect((await world.agent(['archives', 'keys'], env)).stdout).toContain(`${former}  in the trust file`)
  expect((await world.agent(['doctor'], env)).stdout).toMatch(/All is well\.\n$/)

  // What the lost agent left in the target goes when it is named, and not before.
  const kept = await world.agent(['clean'], env)
  expect(kept.stdout).toContain(`--job ${lostStage}`)
  expect((await world.agent(['clean', '--job', lostStage], env)).stdout).toMatch(/stage of \S+ in staging: .+: removed/)

  // The previous tables of the lost agent's job are still there: an undo swaps them back.
  const undone = await world.agent(['undo', '--to', 'staging', job, '--json'], env)
  expect(undone.json).toMatchObject({ outcome: 'succeeded', kind: 'undo' })
  expect(await readState(world.target.url)).toEqual(before)

  // The newest archive is restored by an order, as ever.
  await using _daemon = await startDaemon(env)
  const restored = await plane.ended((await plane.ask({ kind: 'restore', archive, target: 'staging' })).id)
  expect(restored).toMatchObject({ state: 'succeeded', target_state: 'changed' })
  expect((await readState(world.target.url)).tables).toEqual((await readState(world.source.url)).tables)
  await until('the archives of both selves in the list', 20_000, async () => (await plane.archives()).includes(archive))
}, 600_000)

/** As whom the agent was let in first: the control plane's own word, against which a key from the bucket is held. */
async function readFormerKid(plane: Awaited<ReturnType<typeof startPlane>>): Promise<string> {
  const { body } = await plane.call('GET', '/v1/audit?object=agent:vps1&limit=100')
  const entries = body['entries'] as { action: string; detail: { kid?: string } }[]
  return entries.find(({ action }) => action === 'agent.enrolled')?.detail.kid ?? ''
}
