import { randomUUID } from 'node:crypto'
import { expect, test } from 'vitest'
import type { PlanView } from '@multiboard-sync/shared/plan'
import { archiveOf, eventsOf, policyOf, startSurroundings } from './surroundings.ts'

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

test('an undo is a job of its own for the agent that did the undone one, and both name each other', async () => {
  await using here = await startSurroundings()
  const agent = await here.registerAgent('vps', policyOf(['staging', 'other']))
  // Was heard of later and would be preferred.
  const stranger = await here.registerAgent('stranger', policyOf(['staging', 'other']))
  const { id } = await here.ask({ ...sync, agent: 'vps' })
  const path = `/v1/jobs/${id}/undo`
  const refused = async (to: string, body?: unknown) => {
    const answer = await here.person('POST', to, body)
    return [answer.status, answer.body.code]
  }
  expect(await refused(path), 'queued').toEqual([409, 'nothing-to-undo'])
  const order = await agent.begin()
  expect(await refused(path), 'running').toEqual([409, 'nothing-to-undo'])
  await agent.complete(order, { undoable: true })
  expect(await here.job(id)).toMatchObject({ undone_by: null, result: { undoable: true } })

  expect(await refused('/v1/jobs', { kind: 'undo', target: 'other', job: id })).toEqual([409, 'nothing-to-undo'])
  const byStranger = { kind: 'undo', target: 'staging', job: id, agent: 'stranger' }
  expect(await refused('/v1/jobs', byStranger)).toEqual([409, 'conflict'])
  expect(await refused('/v1/jobs', { ...byStranger, job: 'j000000000000' })).toEqual([404, 'not-found'])
  expect(await refused('/v1/jobs/none/undo')).toEqual([404, 'not-found'])
  expect(await refused(path, { surprise: 1 })).toEqual([422, 'invalid-request'])
  expect(await refused(path, { dry_run: false })).toEqual([422, 'invalid-request'])

  const preview = await here.person('POST', path, { dry_run: true })
  const previewed = await agent.begin()
  expect(previewed.params).toEqual({ kind: 'undo', target: 'staging', job: id, dry_run: true })
  await agent.complete(previewed, { target_state: 'untouched' })
  expect(await here.job(id), 'a dry run undoes nothing').toMatchObject({ undone_by: null })
  expect(await refused(`/v1/jobs/${preview.body.id}/undo`), 'a dry run').toEqual([409, 'nothing-to-undo'])

  const twice = [1, 2].map(async () => await here.person('POST', path, undefined, { 'idempotency-key': 'k1' }))
  const [first, second] = await Promise.all(twice)
  expect([first?.status, second?.status]).toEqual([201, 201])
  expect(second?.body.id).toBe(first?.body.id)
  expect(await refused(path), 'under way').toEqual([409, 'conflict'])
  expect(await stranger.claim()).toBeUndefined()
  const undo = await agent.begin()
  expect(undo).toMatchObject({
    job: { id: first?.body.id, kind: 'undo' },
    params: { kind: 'undo', target: 'staging', job: id },
  })
  await agent.complete(undo)
  expect(await here.job(id)).toMatchObject({ undone_by: undo.job.id })
  expect((await here.person('GET', '/v1/jobs')).body.jobs.map((job) => job.undone_by)).toEqual([
    null,
    null,
    undo.job.id,
  ])
  expect(await refused(path), 'undone before').toEqual([409, 'nothing-to-undo'])

  const again = await here.ask({ kind: 'undo', target: 'staging', job: undo.job.id })
  expect(again, 'an undo can be undone').toMatchObject({ state: 'queued', agent: 'vps' })
  expect((await here.person('POST', `/v1/jobs/${again.id}/cancel`)).status).toBe(200)
  expect(await refused(`/v1/jobs/${again.id}/undo`), 'canceled').toEqual([409, 'nothing-to-undo'])
  const archive = await here.ask({ kind: 'export', source: 'production', agent: 'vps' })
  await agent.complete(await agent.begin())
  expect(await refused(`/v1/jobs/${archive.id}/undo`), 'an export').toEqual([409, 'nothing-to-undo'])
  const failing = await here.ask({ ...sync, agent: 'vps' })
  await agent.complete(await agent.begin(), { outcome: 'failed', target_state: 'rolled_back' })
  expect(await refused(`/v1/jobs/${failing.id}/undo`), 'failed').toEqual([409, 'nothing-to-undo'])
})

test('an undo that the policy denies is refused in advance', async () => {
  await using here = await startSurroundings()
  const agent = await here.registerAgent('vps')
  const { id } = await here.ask(sync)
  await agent.complete(await agent.begin())
  agent.policy.routes = []
  await agent.poll()
  expect(await here.person('POST', `/v1/jobs/${id}/undo`)).toMatchObject({
    status: 422,
    body: { code: 'policy-denied' },
  })
})

test('a dry run holds no target, and its plan of 2,000 tables with the longest names arrives whole', async () => {
  await using here = await startSurroundings()
  const agent = await here.registerAgent('vps')
  await here.ask(sync)
  await agent.begin()
  const { id } = await here.ask({ ...sync, dry_run: true })
  const order = await agent.begin()
  expect(order.params).toMatchObject({ ...sync, dry_run: true })
  await agent.report(order, [], { phase: 'proving' })
  await here.letLapse(id)
  expect(await here.job(id), 'lost').toMatchObject({ state: 'lost', target_state: 'untouched' })

  const names = Array.from({ length: 2000 }, (_, n) => `${'s'.repeat(63)}.${String(n).padStart(63, 't')}`)
  const tables = names.map((name) => ({ name, rows: 2_000_000_000, bytes: 1_000_000_000_000 }))
  const plan: PlanView = {
    kind: 'sync',
    source: 'production',
    target: 'staging',
    engine: 'swap',
    reason: 'the default',
    tables: tables.map((table) => ({ ...table, target_rows: 2_000_000_000 })),
    table_count: 2000,
    rows: 4_000_000_000_000,
    bytes: 1,
    remade: [],
    outside_foreign_keys: [],
    locks: 'none',
    disk_bytes: 1,
    notices: [],
  }
  const proof = names.map((table) => ({
    table,
    rows_expected: 2_000_000_000,
    rows_found: 2_000_000_000,
    checksum: 'not-compared' as const,
  }))
  const archive = archiveOf('20261122T090312Z-production-bbbb', { tables })
  const safety_backup = archiveOf('20261122T090312Z-staging-cccc', { kind: 'safety-backup', tables })
  const told = { target_state: 'untouched', plan, proof, archive, safety_backup } as const
  expect((await agent.complete(order, told)).status).toBe(200)
  expect((await here.job(id)).result).toMatchObject({ plan, proof })
  const [listed] = (await here.person('GET', '/v1/jobs?limit=1')).body.jobs
  expect(listed?.result).toMatchObject({ outcome: 'succeeded', rows: 30 })
  expect(Object.keys(listed?.result ?? {})).not.toContain('plan')
  expect(Object.keys(listed?.result ?? {})).not.toContain('proof')
  const tooLarge = await agent.report(order, [], { surprise: 'x'.repeat(1024 * 1024) })
  expect(tooLarge, 'other requests stay small').toMatchObject({ status: 413, body: { code: 'body-too-large' } })
})

test('a cancel after the swap has begun is too late and points to undo; one from before stays as it is', async () => {
  await using here = await startSurroundings()
  const agent = await here.registerAgent('vps')
  const { id } = await here.ask(sync)
  const order = await agent.begin()
  for (const phase of ['swapping', 'cleanup']) {
    await agent.report(order, [], { phase })
    const late = await here.person('POST', `/v1/jobs/${id}/cancel`)
    expect(late).toMatchObject({ status: 409, body: { code: 'too-late', hint: expect.stringContaining('/undo') } })
  }
  expect((await agent.report(order, [], { phase: 'cleanup' })).body).toMatchObject({ cancel: false })
  await agent.complete(order)
  const ended = await here.person('POST', `/v1/jobs/${id}/cancel`)
  expect(ended).toMatchObject({ status: 409, body: { code: 'job-finished', hint: expect.stringContaining('/undo') } })

  const { id: early } = await here.ask(sync)
  const second = await agent.begin()
  await agent.report(second, [], { phase: 'proving' })
  expect((await here.person('POST', `/v1/jobs/${early}/cancel`)).body).toMatchObject({ state: 'canceling' })
  await agent.report(second, [], { phase: 'swapping' })
  const again = await here.person('POST', `/v1/jobs/${early}/cancel`)
  expect(again).toMatchObject({ status: 200, body: { state: 'canceling' } })
})
