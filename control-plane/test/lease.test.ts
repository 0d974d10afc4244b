import { setTimeout as sleep } from 'node:timers/promises'
import { expect, test } from 'vitest'
import { eventsOf, policyOf, startSurroundings, type Agent, type Surroundings } from './surroundings.ts'

const sync = { kind: 'sync', source: 'production', target: 'staging' }
const shortLease = { lease: { leaseMs: 800, graceMs: 400 } }
const untilLostMs = 1300

const typesOf = async (here: Surroundings, id: string) => (await here.events(id)).map(({ type }) => type)

test('G1: many agents claim many jobs: never two on a target, fences only grow, dead agents free their targets', async () => {
  await using here = await startSurroundings({ lease: { leaseMs: 1500, graceMs: 500 } })
  const targets = ['t1', 't2', 't3']
  const agents: Agent[] = []
  for (const name of ['a', 'b', 'c', 'd']) agents.push(await here.registerAgent(name, policyOf(targets)))
  const jobs = Array.from({ length: 36 }, (_, n) => ({ agent: agents[n % 4]?.id, target: targets[n % 3] }))
  for (const { agent, target } of jobs) await here.ask({ kind: 'sync', source: 'production', target, agent })

  const busy = new Map<string, string>()
  const crashedAt = new Map<string, number>()
  const fences = new Map<string, number[]>()
  const wrong: string[] = []
  let claims = 0
  const work = async (agent: Agent): Promise<void> => {
    const deadline = performance.now() + 40_000
    for (let mine = 0; mine < jobs.length / agents.length;) {
      if (performance.now() > deadline) throw new Error(`agent ${agent.id} did not get its jobs in time`)
      const askedAt = performance.now()
      const order = await agent.claim()
      if (!order || order.params.kind !== 'sync') {
        await sleep(20)
        continue
      }
      mine += 1
      claims += 1
      const { target } = order.params
      const holder = busy.get(target)
      if (holder !== undefined) wrong.push(`${order.job.id} while ${holder} holds ${target}`)
      const crashed = crashedAt.get(target)
      // By the database's clock; ours has passed at least as long since the request that got the dead lease was sent.
      if (crashed !== undefined && performance.now() - crashed < 2000) wrong.push(`${target} given before it was lost`)
      crashedAt.delete(target)
      fences.set(target, [...(fences.get(target) ?? []), order.job.fence])
      if (claims % 7 === 0) {
        crashedAt.set(target, askedAt)
        continue
      }
      busy.set(target, order.job.id)
      await agent.accept(order)
      await sleep(Math.random() * 20)
      busy.delete(target)
      const { status } = await agent.complete(order)
      if (status !== 200) wrong.push(`completing ${order.job.id} answered ${status}`)
    }
  }
  await Promise.all(agents.map(work))
  expect(wrong).toEqual([])
  expect(claims).toBe(jobs.length)
  for (const seen of fences.values()) {
    expect(seen.slice(1).every((fence, n) => fence > (seen[n] ?? Number.POSITIVE_INFINITY))).toBe(true)
  }
})

test('one agent polling many times at once gets each job once', async () => {
  await using here = await startSurroundings()
  const agent = await here.registerAgent('vps')
  for (let n = 0; n < 5; n += 1) await here.ask({ kind: 'export', source: 'production' })
  const orders = await Promise.all(Array.from({ length: 12 }, async () => await agent.claim()))
  const ids = orders.flatMap((order) => (order ? [order.job.id] : []))
  expect(new Set(ids).size).toBe(ids.length)
  expect(ids.length).toBeGreaterThan(0)
})

test('exports do not wait for each other, jobs on one target do', async () => {
  await using here = await startSurroundings()
  const agent = await here.registerAgent('vps')
  for (const body of [{ kind: 'export', source: 'production' }, { kind: 'export', source: 'production' }, sync, sync]) {
    await here.ask(body)
  }
  const kinds = []
  for (let n = 0; n < 4; n += 1) kinds.push((await agent.claim())?.params.kind)
  expect(kinds).toEqual(['export', 'export', 'sync', undefined])
})

test('G7: a job whose agent is silent reads as lost after lease and grace, without anybody doing anything', async () => {
  await using here = await startSurroundings(shortLease)
  const agent = await here.registerAgent('vps')
  const { id } = await here.ask(sync)
  const order = await agent.begin()
  expect((await here.job(id)).state).toBe('running')
  await sleep(untilLostMs)
  expect(await here.job(id)).toMatchObject({ state: 'lost', target_state: 'untouched', finished_at: null })
  expect(await typesOf(here, id)).not.toContain('job.lost')

  const other = await here.registerAgent('other')
  await other.poll()
  expect(await typesOf(here, id)).toEqual(['job.queued', 'job.leased', 'job.accepted', 'job.lost'])
  await other.poll()
  expect((await here.events(id)).length).toBe(4)

  expect((await agent.report(order, eventsOf(1, 1))).status).toBe(200)
  expect((await here.job(id)).state).toBe('running')
  expect((await typesOf(here, id)).slice(4)).toEqual(['job.revived', 'table.exported'])
})

test('G7: with a lease of 90 s a dead agent reads as running after 119 s and as lost after 121 s', async () => {
  await using here = await startSurroundings()
  const agent = await here.registerAgent('vps')
  const { id } = await here.ask(sync)
  const order = await agent.begin()
  await agent.report(order, [], { phase: 'exporting', stalled_ms: 4000 })
  const client = await here.database.client()
  const passes = async (seconds: number): Promise<void> => {
    const earlier = `- ${seconds} * interval '1 second'`
    await client.query(
      `update multiboard.jobs set lease_expires_at = lease_expires_at ${earlier}, lost_at = lost_at ${earlier} where id = $1`,
      [id],
    )
  }
  await passes(119)
  expect(await here.job(id)).toMatchObject({ state: 'running', phase: 'exporting', stalled_ms: 4000 })
  await passes(2)
  expect(await here.job(id)).toMatchObject({ state: 'lost', target_state: 'untouched' })
  // Nobody has written that down, and nobody needed to.
  const written = await client.query('select state from multiboard.jobs where id = $1', [id])
  expect(written.rows).toEqual([{ state: 'running' }])
  const listed = await here.person('GET', '/v1/jobs')
  expect(listed.body.jobs.map(({ state }) => state)).toEqual(['lost'])
})

test('G8: an agent is to ask every two seconds while somebody is there, and as its lease wants it when nobody is', async () => {
  await using here = await startSurroundings()
  const agent = await here.registerAgent('vps')
  await here.ask(sync)
  const order = await agent.begin()
  expect((await agent.report(order)).body).toMatchObject({ renew_after_ms: 2000 })
  const client = await here.database.client()
  await client.query(`update multiboard.people_activity set at = now() - interval '11 minutes'`)
  expect((await agent.report(order)).body).not.toHaveProperty('renew_after_ms')
})

test('G7: what a lost job left in its target is unknown from loading on', async () => {
  await using here = await startSurroundings()
  const agent = await here.registerAgent('vps')
  const { id } = await here.ask(sync)
  const order = await agent.begin()
  await agent.report(order, [], { phase: 'loading' })
  await here.letLapse(id)
  expect(await here.job(id)).toMatchObject({ state: 'lost', target_state: 'unknown' })
  await agent.poll()
  expect(await here.job(id)).toMatchObject({ state: 'lost', target_state: 'unknown' })
})

test('T9, G3: a lost job does not come back once its target was given to another', async () => {
  await using here = await startSurroundings()
  const first = await here.registerAgent('first')
  const second = await here.registerAgent('second')
  const { id } = await here.ask({ ...sync, agent: 'first' })
  await here.ask({ ...sync, agent: 'second' })
  const old = await first.begin()
  expect(await second.claim()).toBeUndefined()
  await here.letLapse(old.job.id)
  const young = await second.begin()
  expect(young.job.fence).toBeGreaterThan(old.job.fence)
  for (const call of [first.report(old), first.complete(old), first.accept(old)]) {
    expect(await call).toMatchObject({ status: 409, body: { code: 'fence-superseded' } })
  }
  expect((await here.job(id)).state).toBe('lost')
  expect((await second.report(young)).status).toBe(200)
})

test('a control plane that lost its database does not begin below the fences its targets have seen', async () => {
  const fenceOfFirstJob = async (): Promise<number> => {
    await using here = await startSurroundings()
    const agent = await here.registerAgent('vps')
    await here.ask(sync)
    return (await agent.begin()).job.fence
  }
  const before = await fenceOfFirstJob()
  // Fences are at least the seconds since 2026: a second later is a larger number.
  await sleep(1100)
  expect(await fenceOfFirstJob()).toBeGreaterThan(before)
})

test('G5: a lost job is completed by its agent, which came back with the truth', async () => {
  await using here = await startSurroundings()
  const agent = await here.registerAgent('vps')
  const { id } = await here.ask(sync)
  const order = await agent.begin()
  await here.letLapse(id)
  await agent.poll()
  expect((await agent.complete(order, { outcome: 'failed', code: 'crashed', target_state: 'untouched' })).status).toBe(
    200,
  )
  expect(await here.job(id)).toMatchObject({ state: 'failed', code: 'crashed', target_state: 'untouched' })
})

test('G14: reports keep a lease alive', async () => {
  await using here = await startSurroundings(shortLease)
  const agent = await here.registerAgent('vps')
  const { id } = await here.ask(sync)
  const order = await agent.begin()
  for (let n = 0; n < 6; n += 1) {
    await sleep(300)
    expect((await agent.report(order)).status).toBe(200)
  }
  expect((await here.job(id)).state).toBe('running')
  expect(await typesOf(here, id)).not.toContain('job.revived')
})

test('a job that nobody begins in time expires', async () => {
  await using here = await startSurroundings()
  const agent = await here.registerAgent('vps')
  const { id } = await here.ask({ ...sync, start_within_seconds: 1 })
  await sleep(1100)
  expect((await here.job(id)).state).toBe('expired')
  expect((await here.person('POST', `/v1/jobs/${id}/cancel`)).body.code).toBe('job-finished')
  expect(await agent.claim()).toBeUndefined()
  expect(await typesOf(here, id)).toEqual(['job.queued', 'job.expired'])
})

test('G8: a job is canceled at once before its lease, and by its agent afterwards', async () => {
  await using here = await startSurroundings()
  const agent = await here.registerAgent('vps')
  const early = await here.ask(sync)
  for (let twice = 0; twice < 2; twice += 1) {
    const canceled = await here.person('POST', `/v1/jobs/${early.id}/cancel`)
    expect(canceled).toMatchObject({ status: 200, body: { state: 'canceled' } })
  }
  expect(await typesOf(here, early.id)).toEqual(['job.queued', 'cancel.requested', 'job.canceled'])
  expect(await agent.claim()).toBeUndefined()

  const late = await here.ask(sync)
  const order = await agent.begin()
  for (let twice = 0; twice < 2; twice += 1) {
    expect((await here.person('POST', `/v1/jobs/${late.id}/cancel`)).body).toMatchObject({ state: 'canceling' })
  }
  expect((await agent.report(order)).body).toMatchObject({ cancel: true })
  expect((await here.job(late.id)).state).toBe('canceling')
  await agent.complete(order, { outcome: 'canceled', target_state: 'untouched' })
  expect((await here.job(late.id)).state).toBe('canceled')
  expect((await typesOf(here, late.id)).filter((type) => type === 'cancel.requested')).toHaveLength(1)
  expect((await here.person('POST', `/v1/jobs/${late.id}/cancel`)).status).toBe(200)
})

test('an order that its agent refuses while somebody cancels it ends as refused', async () => {
  await using here = await startSurroundings()
  const agent = await here.registerAgent('vps')
  const { id } = await here.ask(sync)
  await agent.claim()
  await here.person('POST', `/v1/jobs/${id}/cancel`)
  const refusal = { epoch: 1, verdict: 'refused', code: 'policy-denied' }
  expect((await agent.call(`/v1/agent/jobs/${id}/accept`, refusal)).status).toBe(200)
  expect(await here.job(id)).toMatchObject({ state: 'refused', code: 'policy-denied' })
})

test('G8: a cancel that comes too late does not hide that the job succeeded', async () => {
  await using here = await startSurroundings()
  const agent = await here.registerAgent('vps')
  const { id } = await here.ask(sync)
  const order = await agent.begin()
  await here.person('POST', `/v1/jobs/${id}/cancel`)
  await agent.complete(order)
  expect((await here.job(id)).state).toBe('succeeded')
  expect((await here.person('POST', `/v1/jobs/${id}/cancel`)).status).toBe(200)
})

test('whatever arrives at once, a job ends once and its events have no gap', async () => {
  await using here = await startSurroundings()
  const agent = await here.registerAgent('vps')
  for (let round = 0; round < 12; round += 1) {
    const { id } = await here.ask(sync)
    const order = await agent.claim()
    if (!order) throw new Error('no order')
    const calls = [
      async () => await agent.accept(order),
      async () => await agent.report(order, eventsOf(1, 3)),
      async () => await agent.report(order, eventsOf(1, 5)),
      async () => await here.person('POST', `/v1/jobs/${id}/cancel`),
      async () => await agent.complete(order),
      async () => await agent.complete(order, { outcome: 'canceled', target_state: 'untouched' }),
      async () => await agent.poll({ running: [{ job: id, epoch: 1 }] }),
    ]
    const shuffled = calls.toSorted(() => Math.random() - 0.5)
    const answers = await Promise.all(shuffled.map(async (call) => await call()))
    const statuses = answers.map((answer) => ('status' in answer ? answer.status : 200))
    expect(statuses.filter((status) => status !== 200 && status !== 409)).toEqual([])
    const events = await here.events(id)
    expect(events.map(({ pos }) => pos)).toEqual(events.map((_, index) => index + 1))
    expect(events.filter(({ type }) => ['job.succeeded', 'job.canceled'].includes(type))).toHaveLength(1)
    expect(events.at(-1)?.type).toMatch(/^job\.(succeeded|canceled)$/)
  }
  expect(here.logged).toEqual([])
})
