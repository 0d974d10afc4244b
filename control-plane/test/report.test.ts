import { expect, test } from 'vitest'
import { archiveOf, eventsOf, startSurroundings, type Answer } from './surroundings.ts'

const sync = { kind: 'sync', source: 'production', target: 'staging' }

test('G13: events arrive once and in order, though batches are lost, repeated and reordered', async () => {
  await using here = await startSurroundings()
  const agent = await here.registerAgent('vps')
  const { id } = await here.ask(sync)
  const order = await agent.begin()
  const total = 240
  let acknowledged = 0
  let gaps = 0
  for (let round = 0; acknowledged < total && round < 500; round += 1) {
    const batch = eventsOf(acknowledged + 1, Math.min(acknowledged + 1 + (round % 17), total))
    const answers: Promise<Answer>[] = [agent.report(order, batch.toReversed())]
    // The next batch overtakes this one, and an old one comes again late.
    if (round % 3 === 0) answers.push(agent.report(order, eventsOf(acknowledged + 40, acknowledged + 42)))
    if (round % 4 === 0 && acknowledged > 5) answers.push(agent.report(order, eventsOf(acknowledged - 4, acknowledged)))
    const [first, ...others] = await Promise.all(answers)
    gaps += others.filter(({ status }) => status === 416).length
    // Every fifth answer is lost on its way: the agent sends the same again.
    if (round % 5 !== 4 && first?.status === 200) acknowledged = Math.max(acknowledged, first.body.ack_aseq)
  }
  expect(acknowledged).toBe(total)
  expect(gaps).toBeGreaterThan(0)
  const events = await here.events(id)
  expect(events.map(({ pos }) => pos)).toEqual(events.map((_, index) => index + 1))
  const numbers = events.filter(({ src }) => src === 'agent').map(({ data }) => data['n'])
  expect(numbers).toEqual(eventsOf(1, total).map(({ aseq }) => aseq))
})

test('G13: a gap is answered with the last event that is known, and stores nothing', async () => {
  await using here = await startSurroundings()
  const agent = await here.registerAgent('vps')
  const { id } = await here.ask(sync)
  const order = await agent.begin()
  await agent.report(order, eventsOf(1, 3))
  const before = (await here.events(id)).length
  const [, , third] = eventsOf(4, 6)
  if (!third) throw new Error('three events were made')
  for (const batch of [eventsOf(5, 6), [...eventsOf(4, 4), third]]) {
    expect(await agent.report(order, batch)).toMatchObject({ status: 416, body: { code: 'event-gap', ack_aseq: 3 } })
  }
  expect((await here.events(id)).length).toBe(before)
})

test('another epoch is stale, another agent sees no job, and an ended job takes no report', async () => {
  await using here = await startSurroundings()
  const agent = await here.registerAgent('vps')
  const stranger = await here.registerAgent('stranger')
  await here.ask({ ...sync, agent: 'vps' })
  const order = await agent.begin()
  const stale = { ...order, job: { ...order.job, epoch: 2 } }
  for (const call of [agent.report(stale), agent.accept(stale), agent.complete(stale)]) {
    expect(await call).toMatchObject({ status: 409, body: { code: 'stale-epoch' } })
  }
  for (const call of [stranger.report(order), stranger.accept(order), stranger.complete(order)]) {
    expect(await call).toMatchObject({ status: 404, body: { code: 'not-found' } })
  }
  await agent.complete(order)
  for (const call of [agent.report(order), agent.accept(order)]) {
    expect(await call).toMatchObject({ status: 409, body: { code: 'job-finished' } })
  }
})

test('completing twice is completing once; completing otherwise is refused', async () => {
  await using here = await startSurroundings()
  const agent = await here.registerAgent('vps')
  const { id } = await here.ask(sync)
  const order = await agent.begin()
  const answers = await Promise.all([agent.complete(order), agent.complete(order), agent.complete(order)])
  expect(answers.map(({ status }) => status)).toEqual([200, 200, 200])
  expect(await agent.complete(order, { outcome: 'failed' })).toMatchObject({
    status: 409,
    body: { code: 'job-finished' },
  })
  expect((await here.events(id)).filter(({ type }) => type === 'job.succeeded')).toHaveLength(1)
})

test('a job does not end before its events are here', async () => {
  await using here = await startSurroundings()
  const agent = await here.registerAgent('vps')
  const { id } = await here.ask(sync)
  const order = await agent.begin()
  await agent.report(order, eventsOf(1, 2))
  expect(await agent.complete(order, {}, 5)).toMatchObject({ status: 202, body: { ack_aseq: 2, state: 'running' } })
  expect((await here.job(id)).state).toBe('running')
  await agent.report(order, eventsOf(3, 5))
  expect((await agent.complete(order, {}, 5)).status).toBe(200)
  expect((await here.events(id)).at(-1)?.type).toBe('job.succeeded')
})

test('text that PostgreSQL cannot store does not block an agent', async () => {
  await using here = await startSurroundings()
  const agent = await here.registerAgent('vps')
  const { id } = await here.ask(sync)
  const order = await agent.begin()
  const [event] = eventsOf(1, 1)
  if (!event) throw new Error('one event was made')
  const data = { text: 'a\0b\ud800', 'key\0': { deep: ['\0'] } }
  expect((await agent.report(order, [{ ...event, data }])).status).toBe(200)
  const stored = (await here.events(id)).at(-1)?.data
  expect(stored).toEqual({ text: 'a\uFFFDb\uFFFD', 'key\uFFFD': { deep: ['\uFFFD'] } })
})

test('archives are kept as their agent reports them, and by the job that made them', async () => {
  await using here = await startSurroundings()
  const agent = await here.registerAgent('vps')
  const stranger = await here.registerAgent('stranger')
  const one = archiveOf('20261122T080312Z-production-aaaa')
  const two = archiveOf('20261122T090312Z-production-bbbb', { created_at: '2026-11-22T09:03:12Z' })
  const three = archiveOf('20261122T100312Z-staging-cccc', {
    kind: 'safety-backup',
    created_at: '2026-11-22T10:03:12Z',
  })
  expect((await agent.call('/v1/agent/archives', { archives: [one, one] })).status).toBe(200)
  await here.ask({ ...sync, agent: 'vps' })
  await agent.complete(await agent.begin(), { archive: two, safety_backup: three })
  await stranger.call('/v1/agent/archives', { archives: [{ ...one, rows: 999 }] })

  const page = await here.person('GET', '/v1/archives?limit=2')
  expect(page.body.archives.map(({ id }) => id)).toEqual([three.id, two.id])
  const rest = await here.person('GET', `/v1/archives?limit=2&cursor=${page.body.next}`)
  expect(rest.body).toMatchObject({ archives: [{ id: one.id }], next: null })
  expect((await here.person('GET', `/v1/archives/${one.id}`)).body).toMatchObject({ rows: 3, agent: 'vps' })

  await agent.call('/v1/agent/archives', { archives: [{ ...one, missing: ['public.Component.0001.sql.gz'] }] })
  expect((await here.person('GET', `/v1/archives/${one.id}`)).body).toMatchObject({ missing: [expect.any(String)] })
  for (const id of ['20261122T080312Z-production-zzzz', 'nothing', '%00']) {
    expect(await here.person('GET', `/v1/archives/${id}`)).toMatchObject({ status: 404, body: { code: 'not-found' } })
  }
})
