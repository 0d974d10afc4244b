import { randomUUID } from 'node:crypto'
import { createDatabase } from '@multiboard-sync/shared/testing/test-database'
import { expect, test } from 'vitest'
import { findScans } from '../../scripts/bench-control-plane/find-scans.ts'
import { openScene } from '../../scripts/bench-control-plane/open-scene.ts'

/** Those that grow with the years. */
const LARGE = ['jobs', 'events', 'archives', 'audit', 'target_fences', 'idempotency_keys']

test('every statement of every call finds its rows by an index, however long the past is', async () => {
  await using testDatabase = await createDatabase()
  await using scene = await openScene(testDatabase.url, { agents: 50, jobs: 5000, eventsPerJob: 10 })
  const { agents, byAgent, byPerson, running, pollBody, takeStatements } = scene
  const [idle = ''] = agents.slice(-1)
  const [busy = ''] = agents
  const [job = ''] = running
  // The audit, which nobody fills by hand: it is chained.
  await scene.database.query(
    `insert into multiboard.audit (n, at, actor, action, object, detail, prev_hash, hash)
     select n, now(), 'admin', 'job.asked', 'job:' || n, '{}', '', '' from generate_series(101, 5100) n`,
  )
  await scene.database.query(
    `insert into multiboard.idempotency_keys (actor, key, request_sha256, answer, created_at)
     select 'admin', n::text, '', '{}', now() from generate_series(1, 5000) n`,
  )
  await scene.database.query('analyze multiboard.audit')
  await scene.database.query('analyze multiboard.idempotency_keys')

  const found: string[] = []
  let explained = 0
  const ask = async (name: string, request: Request, statuses: readonly number[] = [200, 201]): Promise<unknown> => {
    takeStatements()
    const response = await scene.answer(request)
    const text = await response.text()
    expect(statuses, `${name}: ${response.status} ${text.slice(0, 300)}`).toContain(response.status)
    for (const statement of takeStatements()) {
      explained += 1
      const scans = await findScans(scene.database, statement, LARGE)
      for (const table of scans) found.push(`${name} reads all of ${table}: ${statement.sql.trim().slice(0, 200)}`)
    }
    return response.headers.get('content-type')?.includes('json') ? JSON.parse(text) : undefined
  }
  const agentJob = async (verb: string, body: object, id = job, agent = busy): Promise<Request> =>
    await byAgent(agent, `/v1/agent/jobs/${id}/${verb}`, body)
  const ended = { target_state: 'changed', tables: 1, rows: 1, bytes: 1, seconds: 1, peak_rss_mb: 1 }

  await ask('an idle poll', await byAgent(idle, '/v1/agent/poll', pollBody(idle)))
  await ask('a poll with a job that cannot begin', await byAgent(busy, '/v1/agent/poll', pollBody(busy)))
  const at = new Date().toISOString()
  const events = [{ aseq: 11, type: 'table.loaded', level: 'info', at, data: { rows: 1 } }]
  await ask('a report', await agentJob('report', { epoch: 1, phase: 'proving', stalled_ms: 0, events }))
  const completed = { epoch: 1, result: { outcome: 'succeeded', ...ended }, last_aseq: 11 }
  await ask('a completion', await agentJob('complete', completed))
  await ask('the same completion again', await agentJob('complete', completed))
  await ask('a poll that gets a job', await byAgent(busy, '/v1/agent/poll', pollBody(busy)))
  const waited = `jq${job.slice(2)}`
  await ask('an accepted order', await agentJob('accept', { epoch: 1, verdict: 'accepted' }, waited))
  await ask('a cancel', byPerson('POST', `/v1/jobs/${waited}/cancel`))
  await ask('the jobs', byPerson('GET', '/v1/jobs?limit=50'))
  const page = (await ask('a page of jobs', byPerson('GET', '/v1/jobs?limit=100'))) as { next: string }
  await ask('the next page of jobs', byPerson('GET', `/v1/jobs?limit=100&cursor=${page.next}`))
  await ask('a job', byPerson('GET', `/v1/jobs/${job}`))
  await ask('its events', byPerson('GET', `/v1/jobs/${job}/events?limit=200&after=3`))
  await ask('its undo', byPerson('POST', `/v1/jobs/${job}/undo`, {}))
  const sync = { kind: 'sync', source: 'production', target: busy }
  await ask('a new job', byPerson('POST', '/v1/jobs', sync))
  await ask('a preview', byPerson('POST', '/v1/policy/preview', sync))
  await ask('the agents', byPerson('GET', '/v1/agents'))
  await ask('the archives', byPerson('GET', '/v1/archives?limit=50'))
  await ask('the audit', byPerson('GET', '/v1/audit?limit=50'))
  // What has run out is looked for by every poll.
  await scene.database.query(`update multiboard.jobs set lost_at = now() - interval '1 second' where id = $1`, [
    running[1],
  ])
  await ask('a poll that writes down what has run out', await byAgent(idle, '/v1/agent/poll', pollBody(idle)))
  const before = explained
  await ask('health, which asks no database', new Request(`https://sync.example.com/healthz?${randomUUID()}`))
  expect(explained).toBe(before)
  await ask('readiness', new Request('https://sync.example.com/readyz'))
  expect(explained).toBe(before + 2)
  // Who asks is counted, then four looks; the token is the admin's, whom no statement proves.
  await ask('the metrics', byPerson('GET', '/metrics'))
  expect(explained).toBe(before + 7)
  await (await scene.answer(byPerson('GET', '/metrics'))).text()
  const [walk] = takeStatements().filter(({ sql }) => sql.includes('with recursive way'))
  const plan = await scene.database.query(`explain (format json) ${walk?.sql}`)
  // Both steps of it: from way to way, not through all that succeeded.
  expect(JSON.stringify(plan).match(/"Index Name":"jobs_successes"/g)).toHaveLength(2)

  expect(found).toEqual([])
  expect(explained).toBeGreaterThan(60)
})
