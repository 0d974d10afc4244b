import { appendFile, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Order } from '@multiboard-sync/shared/order'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { openSeenOrders } from './seen-orders.ts'

const NOW = new Date('2026-11-22T12:00:00Z')
const EXP = NOW.getTime() / 1000 + 300
const later = (ms: number) => () => new Date(NOW.getTime() + ms)

let stateDir: string
let path: string

beforeEach(async () => {
  stateDir = await mkdtemp(join(tmpdir(), 'seen-'))
  path = join(stateDir, 'seen-orders.jsonl')
})

afterEach(async () => await rm(stateDir, { recursive: true }))

function order(jti: string, epoch: number): Order {
  return {
    iss: 'i',
    aud: 'agent:a',
    iat: EXP - 300,
    nbf: EXP - 300,
    exp: EXP,
    jti,
    job: { id: 'j4k7q2m9xw1ab', kind: 'export', epoch, fence: 0 },
    requester: 'r',
    params: { kind: 'export', source: 'production' },
    policy_sha256: '0'.repeat(64),
  }
}

it('T2: remembers orders across restarts and writes each once', async () => {
  {
    await using seen = await openSeenOrders(stateDir, later(0))
    await Promise.all([seen.remember(order('first-jti', 1)), seen.remember(order('second-jti', 2))])
    await seen.remember(order('first-jti', 1))
  }
  await using seen = await openSeenOrders(stateDir, later(0))
  expect([seen.has('first-jti'), seen.has('second-jti'), seen.has('third-jti')]).toEqual([true, true, false])
  expect(seen.newestEpoch('j4k7q2m9xw1ab')).toBe(2)
  expect((await readFile(path, 'utf8')).trim().split('\n')).toHaveLength(2)
})

it('T2: forgets a jti an hour after its order expired, but never the epoch', async () => {
  {
    await using seen = await openSeenOrders(stateDir, later(0))
    await seen.remember(order('first-jti', 5))
  }
  {
    await using seen = await openSeenOrders(stateDir, later(3_900_000))
    expect(seen.has('first-jti')).toBe(true)
  }
  for (const restart of [1, 2]) {
    await using seen = await openSeenOrders(stateDir, later(3_901_000 * restart))
    expect(seen.has('first-jti')).toBe(false)
    expect(seen.newestEpoch('j4k7q2m9xw1ab')).toBe(5)
  }
  expect(await readFile(path, 'utf8')).not.toContain('first-jti')
})

it('T2: knows the newest epoch of a job, whatever came last', async () => {
  for (const restart of [1, 2]) {
    await using seen = await openSeenOrders(stateDir, later(0))
    await seen.remember(order(`new-jti-${restart}`, 5))
    await seen.remember(order(`old-jti-${restart}`, 2))
    expect(seen.newestEpoch('j4k7q2m9xw1ab')).toBe(5)
  }
  await using seen = await openSeenOrders(stateDir, later(0))
  expect(seen.newestEpoch('j4k7q2m9xw1ab')).toBe(5)
})

it('ignores a torn last line and writes on cleanly behind it', async () => {
  {
    await using seen = await openSeenOrders(stateDir, later(0))
    await seen.remember(order('first-jti', 1))
  }
  await appendFile(path, '{"job":"j4k7q2m9xw1ab","epoch":2,"jti":"to')
  {
    await using seen = await openSeenOrders(stateDir, later(0))
    expect(seen.newestEpoch('j4k7q2m9xw1ab')).toBe(1)
    await seen.remember(order('third-jti', 3))
  }
  await using seen = await openSeenOrders(stateDir, later(0))
  expect([seen.has('first-jti'), seen.has('third-jti')]).toEqual([true, true])
  expect(seen.newestEpoch('j4k7q2m9xw1ab')).toBe(3)
})

it('T2: refuses to start with a file that is damaged elsewhere', async () => {
  await writeFile(path, 'garbage\n{"job":"j4k7q2m9xw1ab","epoch":1}\n')
  await expect(openSeenOrders(stateDir)).rejects.toMatchObject({ code: 'config-invalid' })
})
