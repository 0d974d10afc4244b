import { policySchema } from '@multiboard-sync/shared/policy'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { archiveOf, policyOf, pollBody, startSurroundings, type Surroundings } from './surroundings.ts'

const HOUR_MS = 3_600_000
const sync = { kind: 'sync', source: 'production', target: 'staging' }
const restore = { kind: 'restore', archive: '20261122T080312Z-production-k7f2', target: 'staging' }

interface Verdict {
  agent: string
  allowed: boolean
  code?: string
  hint?: string
  next_allowed_at?: string
}

let here: Surroundings

beforeAll(async () => {
  here = await startSurroundings()
})
afterAll(async () => await here[Symbol.asyncDispose]())

async function preview(body: object): Promise<Verdict[]> {
  const answer = await here.person('POST', '/v1/policy/preview', body)
  expect(answer.status, JSON.stringify(answer.body)).toBe(200)
  return (answer.body as unknown as { agents: Verdict[] }).agents
}

/** A policy whose one route is so. */
function policyWith(line: object) {
  return policySchema.parse({ ...policyOf(), routes: [{ from: 'production', to: 'staging', ...line }] })
}

/** Half an hour that begins in an hour. */
function windowInAnHour(): { text: string; opens: Date } {
  const opens = new Date(Math.ceil((Date.now() + HOUR_MS) / 60_000) * 60_000)
  const clock = (ms: number): string => new Date(ms).toISOString().slice(11, 16)
  return { text: `daily ${clock(opens.getTime())}-${clock(opens.getTime() + HOUR_MS / 2)} UTC`, opens }
}

test('a preview says of each agent whether it would do a job, and why not', async () => {
  await here.registerAgent('able')
  await here.registerAgent('narrow', policyWith({ kinds: ['restore'] }))
  await here.registerAgent('elsewhere', policyOf(['other']))
  const verdicts = await preview(sync)
  expect(verdicts.toSorted((a, b) => (a.agent < b.agent ? -1 : 1))).toEqual([
    { agent: 'able', allowed: true },
    {
      agent: 'elsewhere',
      allowed: false,
      code: 'database-unknown',
      message: expect.any(String),
      hint: expect.any(String),
    },
    { agent: 'narrow', allowed: false, code: 'policy-denied', message: expect.any(String), hint: expect.any(String) },
  ])
  expect(await preview({ ...sync, agent: 'able' })).toEqual([{ agent: 'able', allowed: true }])
  expect(await preview({ ...sync, agent: 'able', target: 'production', source: 'staging' })).toMatchObject([
    { allowed: false, code: 'target-protected' },
  ])
  expect((await here.person('POST', '/v1/policy/preview', { ...sync, agent: 'nobody' })).body.code).toBe(
    'agent-unknown',
  )
  expect((await here.person('POST', '/v1/policy/preview', { kind: 'sync' })).status).toBe(422)
  const jobs = (await here.person('GET', '/v1/jobs')).body.jobs
  expect(jobs, 'nothing was asked for').toEqual([])
})

test('a preview says when a closed window opens, and a job is refused until then with the same words', async () => {
  const { text, opens } = windowInAnHour()
  await here.registerAgent('nightly', policyWith({ window: text }))
  const [verdict] = await preview({ ...sync, agent: 'nightly' })
  expect(verdict).toMatchObject({
    allowed: false,
    code: 'window-closed',
    next_allowed_at: opens.toISOString(),
    hint: expect.stringContaining(opens.toISOString()),
  })
  const asked = await here.person('POST', '/v1/jobs', { ...sync, agent: 'nightly' })
  expect(asked.status).toBeGreaterThanOrEqual(400)
  expect(asked.body).toMatchObject({ code: 'window-closed', hint: verdict?.hint })
  expect(await preview({ ...sync, agent: 'nightly', dry_run: true }), 'nothing begins').toEqual([
    { agent: 'nightly', allowed: true },
  ])
})

test('starts count by their agent and target; what was refused, only planned or put back does not', async () => {
  const agent = await here.registerAgent('rare', policyWith({ max_jobs_per_day: 1 }))
  const rare = { ...sync, agent: 'rare' }
  const safe = '20261122T090000Z-staging-aaaa'
  await agent.call('/v1/agent/archives', {
    archives: [archiveOf(restore.archive), archiveOf(safe, { kind: 'safety-backup', source: 'staging' })],
  })
  for (const [body, outcome] of [
    [{ ...rare, dry_run: true }, 'succeeded'],
    [rare, 'refused'],
    [{ ...restore, archive: safe, agent: 'rare' }, 'succeeded'],
  ] as const) {
    await here.ask(body)
    await agent.complete(await agent.begin(), { outcome, target_state: 'untouched' })
    expect(await preview(rare), JSON.stringify(body)).toEqual([{ agent: 'rare', allowed: true }])
  }
  await here.ask(rare)
  const before = Date.now()
  await agent.complete(await agent.begin(), { outcome: 'failed', target_state: 'rolled_back' })
  const [verdict] = await preview(rare)
  expect(verdict).toMatchObject({ allowed: false, code: 'too-many-jobs' })
  expect(Math.abs(Date.parse(verdict?.next_allowed_at ?? '') - before - 24 * HOUR_MS)).toBeLessThan(60_000)
  expect(await preview({ ...restore, agent: 'rare' })).toMatchObject([{ code: 'too-many-jobs' }])
  expect(await preview({ ...restore, archive: safe, agent: 'rare' }), 'put back').toMatchObject([{ allowed: true }])
  expect(await preview({ ...sync, agent: 'able' }), 'another agent').toEqual([{ agent: 'able', allowed: true }])
})

test('an archive that is too old for its route is told in advance', async () => {
  await here.registerAgent('fresh', policyWith({ max_archive_age: '1h' }))
  expect(await preview({ ...restore, agent: 'fresh' })).toMatchObject([{ allowed: false, code: 'archive-too-old' }])
})

test("a newer agent's poll is not refused for words of its policy that this control plane does not know", async () => {
  const agent = await here.registerAgent('newer')
  const body = pollBody(policyOf())
  const [line] = body.policy.routes
  const policy = {
    ...body.policy,
    databases: { ...body.policy.databases, lake: { role: 'lakehouse', protected: true, region: 'eu' } },
    routes: [
      { ...line, window: ['full moon'], kinds: ['sync', 'teleport'], min_interval: 'a while', max_jobs_per_day: 'few' },
      { from: 'lake', to: 'staging', approvals: 2 },
    ],
    approvals: { by: 'ops' },
  }
  expect((await agent.call('/v1/agent/poll', { ...body, policy })).status).toBe(200)
  expect(await preview({ ...sync, agent: 'newer' })).toEqual([{ agent: 'newer', allowed: true }])
  const kept = await (await here.database.client()).query(`select policy from multiboard.agents where id = 'newer'`)
  expect(JSON.stringify(kept.rows)).not.toMatch(/approvals|region|full moon/)
})
