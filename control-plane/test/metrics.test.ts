import pg from 'pg'
import { expect, test } from 'vitest'
import { adminToken, startSurroundings, type Surroundings } from './surroundings.ts'

const sync = { kind: 'sync', source: 'production', target: 'staging' }
const CALL_TIMEOUT_MS = 20_000

async function metricsOf(here: Surroundings, token: string = adminToken): Promise<{ status: number; text: string }> {
  const response = await fetch(`${here.control.url}/metrics`, {
    headers: { authorization: `Bearer ${token}` },
    signal: AbortSignal.timeout(CALL_TIMEOUT_MS),
  })
  return { status: response.status, text: await response.text() }
}

/** A metric's line without its value, and its value. */
function valueOf(text: string, line: string): number | undefined {
  const found = text.split('\n').find((one) => one.startsWith(`multiboard_control_plane_${line} `))
  return found === undefined ? undefined : Number(found.slice(found.lastIndexOf(' ')))
}

test('what is to be watched is told: jobs, leases, the last success of each way, agents', async () => {
  await using here = await startSurroundings()
  const empty = await metricsOf(here)
  expect(empty).toMatchObject({
    status: 200,
    text: expect.stringContaining('# TYPE multiboard_control_plane_jobs_last_day gauge'),
  })

  const agent = await here.registerAgent('vps')
  await here.ask(sync)
  const order = await agent.begin()
  await here.ask(sync)
  const { text } = await metricsOf(here)
  expect(valueOf(text, 'unfinished_jobs{kind="sync",state="running"}')).toBe(1)
  expect(valueOf(text, 'unfinished_jobs{kind="sync",state="queued"}')).toBe(1)
  expect(valueOf(text, 'oldest_queued_seconds{kind="sync"}')).toBeGreaterThanOrEqual(0)
  expect(valueOf(text, 'leases{kind="sync"}')).toBe(1)
  expect(valueOf(text, 'shortest_lease_seconds')).toBeGreaterThan(60)
  expect(valueOf(text, 'agent_alive{agent="vps"}')).toBe(1)
  expect(valueOf(text, 'agent_last_seen_timestamp_seconds{agent="vps"}')).toBeGreaterThan(1.7e9)
  expect(Math.abs(valueOf(text, 'agent_clock_skew_seconds{agent="vps"}') ?? 99)).toBeLessThan(5)
  expect(text).not.toContain('last_success_timestamp_seconds{')

  await agent.complete(order)
  await here.letLapse(order.job.id)
  const exported = await here.ask({ kind: 'export', source: 'production' })
  for (let claimed = await agent.claim(); claimed; claimed = await agent.claim()) {
    await agent.accept(claimed)
    if (claimed.job.id === exported.id) await agent.complete(claimed)
    else await here.letLapse(claimed.job.id)
  }
  const later = (await metricsOf(here)).text
  const now = Date.now() / 1000
  for (const labels of [
    'kind="export",source="production",target=""',
    'kind="sync",source="production",target="staging"',
  ]) {
    expect(Math.abs((valueOf(later, `last_success_timestamp_seconds{${labels}}`) ?? 0) - now), labels).toBeLessThan(60)
  }
  expect(valueOf(later, 'jobs_last_day{kind="sync",state="succeeded"}')).toBe(1)
  expect(valueOf(later, 'events_last_day{kind="export"}')).toBeGreaterThan(0)
  expect(later).not.toMatch(/staging"\} NaN|undefined|null/)
  expect(here.logged).toEqual([])
})

test('metrics need the token of a viewer, and whoever reads them does not count as somebody who is here', async () => {
  await using here = await startSurroundings()
  const agent = await here.registerAgent('vps')
  const made = await here.person('POST', '/v1/tokens', { label: 'prometheus', role: 'viewer', expires_in_days: 30 })
  expect(made.status).toBe(201)
  const { token } = made.body as unknown as { token: string }
  const client = await here.database.client()
  await client.query(`update multiboard.people_activity set at = '-infinity'`)
  const idleMs = (await agent.poll()).poll_after_ms

  expect((await metricsOf(here, token)).status).toBe(200)
  expect((await metricsOf(here)).status).toBe(200)
  expect((await metricsOf(here, 'nonsense')).status).toBe(401)
  expect((await agent.poll()).poll_after_ms).toBe(idleMs)
  const { rows } = await client.query<{ used: boolean }>(
    `select last_used_at is not null as used from multiboard.api_tokens where label = 'prometheus'`,
  )
  expect(rows).toEqual([{ used: true }])
  await here.person('GET', '/v1/jobs')
  expect((await agent.poll()).poll_after_ms).toBeLessThan(idleMs)
})

test('it lives without its database, and is ready only with the tables of its version', async () => {
  await using here = await startSurroundings()
  expect(await here.person('GET', '/readyz', undefined, { authorization: '' })).toMatchObject({
    status: 200,
    body: { ok: true },
  })
  const client = await here.database.client()
  await client.query('alter table multiboard.migrations rename to away')
  const unready = {
    status: 503,
    body: { code: 'not-ready', retryable: true, title: expect.stringContaining('older than this version') },
  }
  expect(await here.person('GET', '/readyz')).toMatchObject(unready)
  await client.query('create table multiboard.migrations (name text)')
  expect(await here.person('GET', '/readyz')).toMatchObject(unready)
  await client.query('drop table multiboard.migrations')
  await client.query('alter table multiboard.away rename to migrations')
  expect((await here.person('GET', '/readyz')).status).toBe(200)

  // From a database beside it: nobody may close the one that they are in.
  const { pathname } = new URL(here.database.url)
  const beside = new pg.Client({
    connectionString: Object.assign(new URL(here.database.url), { pathname: '/postgres' }).href,
  })
  await beside.connect()
  const name = pathname.slice(1)
  await client.end()
  await beside.query(`alter database "${name}" with allow_connections false`)
  await beside.query('select pg_terminate_backend(pid) from pg_stat_activity where datname = $1', [name])
  const away = await here.person('GET', '/readyz')
  const living = await here.person('GET', '/healthz')
  await beside.query(`alter database "${name}" with allow_connections true`)
  await beside.end()
  expect(away).toMatchObject({ status: 503, body: { title: 'The database does not answer.' } })
  expect(living).toMatchObject({ status: 200, body: { ok: true } })
  expect(here.logged.join()).toContain('"event":"not-ready"')
})
