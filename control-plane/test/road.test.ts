import { randomUUID } from 'node:crypto'
import { expect, test } from 'vitest'
import { eventsOf, startSurroundings } from './surroundings.ts'

const sync = { kind: 'sync', source: 'production', target: 'staging' }

test('a job goes from a request to its end, and its events tell the way', async () => {
  await using here = await startSurroundings()
  const agent = await here.registerAgent('vps')
  const asked = await here.ask(sync)
  expect(asked).toMatchObject({ state: 'queued', agent: 'vps', target_state: 'untouched', params: sync })

  const order = await agent.claim()
  if (!order) throw new Error('no order')
  expect(order).toMatchObject({
    iss: here.control.url,
    aud: 'agent:vps',
    job: { id: asked.id, kind: 'sync', epoch: 1, fence: expect.any(Number) },
    params: { ...sync, engine: 'auto' },
    requester: 'admin',
  })
  expect(order.exp - order.iat).toBe(300)
  expect((await here.job(asked.id)).state).toBe('leased')

  expect((await agent.accept(order)).body).toMatchObject({ lease_ms: 90_000 })
  expect((await agent.accept(order)).status).toBe(200)
  const progress = {
    phase: 'exporting',
    tables_done: 1,
    tables_total: 3,
    rows: 10,
    bytes: 100,
    bytes_total: 300,
    bytes_per_second: 50,
    elapsed_seconds: 2,
  }
  const reported = await agent.report(order, eventsOf(1, 2), { progress, stalled_ms: 3_000_000_000 })
  expect(reported.body).toMatchObject({ lease_ms: 90_000, cancel: false, ack_aseq: 2 })
  expect(await here.job(asked.id)).toMatchObject({ state: 'running', phase: 'exporting', progress })

  expect((await agent.complete(order, {}, 2)).body).toMatchObject({ state: 'succeeded', ack_aseq: 2 })
  expect(await here.job(asked.id)).toMatchObject({ state: 'succeeded', target_state: 'changed', result: { rows: 30 } })

  const events = await here.events(asked.id)
  expect(events.map(({ type }) => type)).toEqual([
    'job.queued',
    'job.leased',
    'job.accepted',
    'table.exported',
    'table.exported',
    'job.succeeded',
  ])
  expect(events.map(({ pos }) => pos)).toEqual([1, 2, 3, 4, 5, 6])
  expect(here.logged).toEqual([])
})

test('the same poll again gets the same order, until it is answered', async () => {
  await using here = await startSurroundings()
  const agent = await here.registerAgent('vps')
  await here.ask({ kind: 'export', source: 'production' })
  await here.ask({ kind: 'export', source: 'production' })
  const jti = randomUUID()
  const first = await agent.poll({ jti })
  expect(first.order).toBeTypeOf('string')
  const again = await Promise.all([agent.poll({ jti }), agent.poll({ jti })])
  expect(again.map(({ order }) => order)).toEqual([first.order, first.order])
})

test('an order whose answer was lost on its way is given again to the same boot of the agent, and to no other', async () => {
  await using here = await startSurroundings()
  const agent = await here.registerAgent('vps')
  const { id } = await here.ask(sync)
  await here.ask({ kind: 'export', source: 'production' })
  const bootId = randomUUID()
  const first = await agent.poll({ bootId })
  expect((await agent.poll({ bootId })).order).toBe(first.order)
  const other = await agent.claim()
  expect(other?.params.kind).toBe('export')
  expect((await agent.poll({ bootId })).order).toBe(first.order)
  await agent.call(`/v1/agent/jobs/${id}/accept`, { epoch: 1, verdict: 'accepted' })
  expect(await agent.poll({ bootId })).not.toHaveProperty('order')
})

test('an order that was not answered before its lease lapsed is not given again', async () => {
  await using here = await startSurroundings()
  const agent = await here.registerAgent('vps')
  const { id } = await here.ask(sync)
  const bootId = randomUUID()
  expect(await agent.poll({ bootId })).toHaveProperty('order')
  await here.letLapse(id)
  expect(await agent.poll({ bootId })).not.toHaveProperty('order')
  expect((await here.job(id)).state).toBe('lost')
})

test('an agent that is busy gets no second order', async () => {
  await using here = await startSurroundings()
  const agent = await here.registerAgent('vps')
  await here.ask({ kind: 'export', source: 'production' })
  const order = await agent.claim()
  if (!order) throw new Error('no order')
  await agent.accept(order)
  await here.ask({ kind: 'export', source: 'production' })
  const { id, epoch } = order.job
  expect(await agent.poll({ running: [{ job: id, epoch }] })).not.toHaveProperty('order')
  expect(await agent.claim()).toBeDefined()
})

test('a poll names the running jobs that shall stop: canceled, ended, and unknown ones', async () => {
  await using here = await startSurroundings()
  const agent = await here.registerAgent('vps')
  const { id } = await here.ask(sync)
  const order = await agent.claim()
  if (!order) throw new Error('no order')
  await agent.accept(order)
  const running = [
    { job: id, epoch: 1 },
    { job: 'j000000000000', epoch: 1 },
  ]
  expect((await agent.poll({ running })).cancel).toEqual(['j000000000000'])
  await here.person('POST', `/v1/jobs/${id}/cancel`)
  expect((await agent.poll({ running })).cancel).toEqual([id, 'j000000000000'])
  await agent.complete(order, { outcome: 'canceled', target_state: 'untouched' })
  expect((await agent.poll({ running })).cancel).toEqual([id, 'j000000000000'])
})

test('an agent polls fast while people are here', async () => {
  await using here = await startSurroundings()
  const agent = await here.registerAgent('vps')
  expect((await agent.poll()).poll_after_ms).toBe(2000)
  const client = await here.database.client()
  await client.query("update multiboard.people_activity set at = now() - interval '11 minutes'")
  expect((await agent.poll()).poll_after_ms).toBe(12_000)
})

test('an agent refuses an order with its reason, once', async () => {
  await using here = await startSurroundings()
  const agent = await here.registerAgent('vps')
  const { id } = await here.ask(sync)
  const order = await agent.claim()
  if (!order) throw new Error('no order')
  const refusal = { epoch: 1, verdict: 'refused', code: 'clock-skew', message: 'The clock is off.', hint: 'Set it.' }
  const path = `/v1/agent/jobs/${id}/accept`
  expect((await agent.call(path, refusal)).status).toBe(200)
  expect((await agent.call(path, refusal)).status).toBe(200)
  expect(await here.job(id)).toMatchObject({ state: 'refused', code: 'clock-skew', hint: 'Set it.' })
  expect((await agent.report(order)).body.code).toBe('job-finished')
  expect((await here.events(id)).map(({ type }) => type)).toEqual(['job.queued', 'job.leased', 'job.refused'])
})
