import { afterEach, expect, test, vi } from 'vitest'
import { allFrames, openStream } from './read-stream.ts'
import { answerOf, eventsOf, startSurroundings, type Surroundings } from './surroundings.ts'

const sync = { kind: 'sync', source: 'production', target: 'staging' }
const MINUTE_MS = 60_000

afterEach(() => void vi.useRealTimers())

/** A job that ended, and a ticket for it. */
async function ticketed(here: Surroundings): Promise<{ id: string; path: string; ticket: string; url: string }> {
  const agent = await here.registerAgent('vps')
  const { id } = await here.ask(sync)
  const order = await agent.begin()
  await agent.report(order, eventsOf(1, 2))
  await agent.complete(order, {}, 2)
  const path = `/v1/jobs/${id}/stream-ticket`
  const { body, status } = await here.person('POST', path)
  expect(status).toBe(201)
  return { id, path, ...(body as unknown as { ticket: string; url: string }) }
}

async function statusOf(url: string, method = 'GET'): Promise<number> {
  return (await answerOf(await fetch(url, { method, signal: AbortSignal.timeout(20_000) }))).status
}

test('T15: a ticket in the address opens the stream of its job, again and again, and nothing else', async () => {
  await using here = await startSurroundings({ stream: { pollMs: 20 } })
  const { id, ticket, url } = await ticketed(here)
  for (const _ of [1, 2]) {
    const frames = await allFrames(await openStream(url, { authorization: '' }))
    expect(frames.at(-1)).toMatchObject({ event: 'end', data: { state: 'succeeded' } })
  }
  expect(await statusOf(url)).toBe(200)
  const origin = here.control.url
  const { id: other } = await here.ask(sync)
  for (const path of [`/v1/jobs/${other}/events`, `/v1/jobs/${id}`, `/v1/jobs`, '/v1/archives', '/v1/me']) {
    expect(await statusOf(`${origin}${path}?ticket=${ticket}`), path).toBe(401)
  }
  for (const path of [`/v1/jobs/${id}/cancel`, `/v1/jobs/${id}/undo`, `/v1/jobs/${id}/stream-ticket`]) {
    expect(await statusOf(`${origin}${path}?ticket=${ticket}`, 'POST'), path).toBe(401)
  }
  const bearer = { authorization: `Bearer ${ticket}` }
  expect((await here.person('GET', `/v1/jobs/${id}`, undefined, bearer)).status).toBe(401)
})

test('T15: a ticket is refused after ten minutes, and when one letter of it was changed', async () => {
  await using here = await startSurroundings()
  const { ticket, url } = await ticketed(here)
  for (const [index, letter] of ticket.split('').entries()) {
    // Of a signature's last letter some bits do not count, and a dot apart says where a part ends.
    if (index % 13 !== 0 || letter === '.' || index === ticket.length - 1) continue
    const changed = `${ticket.slice(0, index)}${letter === 'A' ? 'B' : 'A'}${ticket.slice(index + 1)}`
    expect(await statusOf(url.replace(ticket, changed)), `letter ${index}`).toBe(401)
  }
  for (const wrong of ['', 'x', 'a.b.c', `${ticket}.x`]) expect(await statusOf(url.replace(ticket, wrong))).toBe(401)

  vi.useFakeTimers({ toFake: ['Date'], now: Date.now() + 9 * MINUTE_MS })
  expect(await statusOf(url)).toBe(200)
  vi.setSystemTime(Date.now() + 2 * MINUTE_MS)
  expect(await statusOf(url)).toBe(401)
})

test('T15: a ticket is in no log and in no table', async () => {
  await using here = await startSurroundings()
  const { id, ticket, url } = await ticketed(here)
  await allFrames(await openStream(url, { authorization: '' }))
  const client = await here.database.client()
  await client.query('alter table multiboard.jobs rename to hidden')
  expect((await fetch(url)).status).toBe(500)
  await client.query('alter table multiboard.hidden rename to jobs')
  const [, claims = '', signature = ''] = ticket.split('.')
  const { rows } = await client.query<{ all: string }>(
    `select string_agg(query_to_xml(format('select * from multiboard.%I', tablename), true, false, '')::text, '') as all
     from pg_tables where schemaname = 'multiboard'`,
  )
  const kept = [...here.logged, ...here.requests, rows[0]?.all].join('\n')
  expect(kept).toContain(id)
  for (const part of [ticket, claims, signature]) expect(kept).not.toContain(part)
})

test('T15: a job that is not there has no ticket', async () => {
  await using here = await startSurroundings()
  expect((await here.person('POST', '/v1/jobs/j000000000000/stream-ticket')).status).toBe(404)
  expect((await here.person('POST', '/v1/jobs/%00/stream-ticket')).status).toBe(404)
})

test('T19: a person has five streams at a time, on whatever instance, and the sixth is told to wait', async () => {
  await using here = await startSurroundings({ stream: { pollMs: 30 } })
  const agent = await here.registerAgent('vps')
  const { id } = await here.ask(sync)
  await agent.begin()
  const url = `${here.control.url}/v1/jobs/${id}/events`
  const leave = new AbortController()
  const open = await Promise.all(Array.from({ length: 8 }, async () => await openStream(url, {}, leave.signal)))
  expect(Object.groupBy(open, ({ status }) => status)).toMatchObject({ 200: { length: 5 }, 429: { length: 3 } })
  const refused = open.find(({ status }) => status === 429)
  expect(refused?.headers.get('retry-after')).toBe('60')
  // One page of JSON is no stream, and somebody else has streams of their own.
  expect((await here.person('GET', `/v1/jobs/${id}/events`)).status).toBe(200)
  // The places of those who left are free again.
  leave.abort()
  const again = await Promise.all(Array.from({ length: 5 }, async () => await openStream(url)))
  expect(again.map(({ status }) => status)).toEqual([200, 200, 200, 200, 200])
  // An instance that dies takes its places with it, until they expire.
  const client = await here.database.client()
  await client.query("update multiboard.streams set expires_at = now() - interval '1 second'")
  const late = await openStream(url)
  expect(late.status).toBe(200)
  for (const { body } of [...again, late]) await body?.cancel()
})
