import { setTimeout as sleep } from 'node:timers/promises'
import { startChaosProxy, type ChaosProxy } from '@multiboard-sync/shared/testing/chaos-proxy'
import { withDeadline } from '@multiboard-sync/shared/testing/postgres/deadline'
import { createDatabase, type TestDatabase } from '@multiboard-sync/shared/testing/test-database'
import { afterAll, beforeAll, expect, inject, test } from 'vitest'
import { openSession, type Session } from '../src/postgres/session.ts'
import { streamDocuments, type StreamOptions } from '../src/reindex/stream-documents.ts'

const { host, port, major } = inject('postgres')
const never = new AbortController().signal
const waitMs = 15_000

let database: TestDatabase
beforeAll(async () => {
  database = await createDatabase()
})
afterAll(async () => await database[Symbol.asyncDispose]())

async function open(url = database.url, signal = never): Promise<Session> {
  return await openSession({ name: 'staging', url, viaProxy: false }, { purpose: 'test', signal, readOnly: true })
}

async function collect(session: Session, select: string, options: Partial<StreamOptions> = {}) {
  const batches: { text: string; lines: number }[] = []
  const stream = streamDocuments(session, select, { signal: never, ...options })
  for await (const { body, lines } of stream) batches.push({ text: body.toString(), lines })
  return batches
}

/** So many documents of some 100 bytes. */
const many = (count: number) =>
  `select '{"id":"' || n || '","text":"' || repeat(md5(n::text), 2) || '"}' from (select generate_series(1, ${count})) as made (n)`

/** Waits until the server's end of a session is gone. */
async function isGone(session: Session): Promise<void> {
  const client = await database.client()
  const gone = async () => {
    const sql = 'select from pg_stat_activity where pid = $1'
    while ((await client.query(sql, [session.backendPid])).rowCount !== 0) await sleep(10)
  }
  await withDeadline('the end of the COPY on the server', waitMs, gone())
  await client.end()
}

async function proxy(): Promise<ChaosProxy> {
  return await startChaosProxy({ target: { host, port } })
}

test('Documents come in batches of whole lines within both limits, and the session goes on afterwards', async () => {
  await using session = await open()
  const byLines = await collect(session, many(5_500))
  expect(byLines.map(({ lines }) => lines)).toEqual([2000, 2000, 1500])
  const ids = byLines
    .flatMap(({ text }) => text.trimEnd().split('\n'))
    .map((line) => (JSON.parse(line) as { id: string }).id)
  expect(ids).toEqual(Array.from({ length: 5_500 }, (_, index) => String(index + 1)))
  const byBytes = await collect(session, many(1000), { maxBytes: 5000 })
  expect(byBytes.every(({ text }) => text.length <= 5000 && text.endsWith('}\n'))).toBe(true)
  expect(byBytes.reduce((sum, { lines }) => sum + lines, 0)).toBe(1000)
  expect(await collect(session, many(0))).toEqual([])
  const large = await collect(
    session,
    `select '{"x":"' || repeat('x', n) || '"}' from unnest('{10, 5000000, 10}'::int[]) n`,
  )
  expect(large.map(({ text }) => text.length)).toEqual([19, 5_000_009, 19])
  expect(await session.query('select 1 as one')).toEqual([{ one: 1 }])
})

test('No text makes COPY escape anything, be it in a text, json or jsonb column', async () => {
  await using session = await open()
  const codes = [...Array.from({ length: 31 }, (_, index) => index + 1), 127, 0x85, 0x2028, 0x2029, 0xfeff, 0x1f529]
  const values = [
    ...codes.map(
      (code) => `${String.fromCodePoint(code)}in ${String.fromCodePoint(code)} and after${String.fromCodePoint(code)}`,
    ),
    '\\.',
    '\\.\n',
    '\\N',
    '"',
    '\\',
    '\\"',
    ',',
    "'",
    '',
    ' ',
    'null',
    '\u0001\u0001',
    '\u0001,\u0002\r\n\u0001',
    codes.map((code) => String.fromCodePoint(code)).join(''),
  ]
  const client = await database.client()
  await client.query('create table value (n int, t text, j json, b jsonb, a text[])')
  for (const [n, value] of values.entries()) {
    const json = JSON.stringify({ [value]: [value] })
    await client.query('insert into value values ($1, $2, $3, $4, $5)', [n, value, json, json, [value]])
  }
  await client.end()
  const ways = [
    // As documents are made, and as PostgreSQL makes them by itself.
    `select concat_ws(',', '{"id":' || to_json(n::text), '"t":' || to_json(t)::text, '"j":' || j::text, '"b":' || b::text,
       '"a":' || to_json(a)::text) || '}' from public.value order by n`,
    `select row_to_json(v)::text from (select n::text as id, t, j, b, a from public.value) v order by v.id::int`,
    `select to_jsonb(v)::text from (select n::text as id, t, j, b, a from public.value) v order by v.id::int`,
  ]
  for (const select of ways) {
    const [batch] = await collect(session, select)
    const text = batch?.text ?? ''
    expect(Buffer.from(text).filter((byte) => byte < 32 && byte !== 10)).toHaveLength(0)
    const documents = text
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line) as unknown)
    expect(documents).toEqual(
      values.map((value, n) => ({
        id: String(n),
        t: value,
        j: { [value]: [value] },
        b: { [value]: [value] },
        a: [value],
      })),
    )
  }
})

test.each([
  ['a line break, as json keeps it between values', `select '{"a":\n1}'::json::text`],
  ['a carriage return', `select '{"a":\r1}'`],
  ["COPY's quote", `select e'\\x01'`],
  ["COPY's delimiter", `select e'{"a":"\\x02"}'`],
  ['an end of data', `select '\\.'`],
  ['nothing', `select ''`],
  ['a NULL', `select null::text`],
])('A text that holds %s is refused, and the value is not told', async (_, select) => {
  await using session = await open()
  await expect(collect(session, `${many(3)} union all ${select}`)).rejects.toMatchObject({
    code: 'documents-rejected',
    message: expect.not.stringContaining('a"') as string,
  })
})

test('Nothing is read ahead of a reader that is slow, and PostgreSQL waits', async () => {
  await using between = await proxy()
  await using session = await open(between.url(database.url))
  const before = between.bytes.toClient
  const stream = streamDocuments(session, many(1_000_000), { signal: never, maxBytes: 100_000 })
  await stream.next()
  const client = await database.client()
  // Buffers of the kernel, of the proxy and of the stream fill up, and then nothing moves any more.
  const stands = async () => {
    const waits = `select from pg_stat_activity where pid = $1 and wait_event = 'ClientWrite'`
    for (let [seen, bytes] = [0, 0]; seen < 5; await sleep(20)) {
      const isWaiting = (await client.query(waits, [session.backendPid])).rowCount === 1
      seen = isWaiting && bytes === between.bytes.toClient ? seen + 1 : 0
      bytes = between.bytes.toClient
    }
  }
  await withDeadline('the standstill of the COPY', waitMs, stands())
  await client.end()
  expect(between.bytes.toClient - before).toBeLessThan(20e6)
  const { value } = await stream.next()
  expect(value?.lines).toBeGreaterThan(500)
  await stream.return()
  await isGone(session)
})

test('Leaving the loop early ends the COPY and the session at once', async () => {
  await using session = await open()
  const leave = async () => {
    for await (const batch of streamDocuments(session, many(5_000_000), { signal: never })) {
      expect(batch.lines).toBe(2000)
      break
    }
  }
  await withDeadline('the end of a loop that was left', waitMs, leave())
  await isGone(session)
  await expect(session.query('select 1')).rejects.toMatchObject({ code: 'connection-lost' })
})

test('A loop that is left at its very end leaves the session as it is', async () => {
  await using session = await open()
  for await (const batch of streamDocuments(session, many(3), { signal: never })) {
    expect(batch.lines).toBe(3)
    break
  }
  expect(await session.query('select 1 as one')).toEqual([{ one: 1 }])
})

test.each(['while PostgreSQL is computing', 'while a batch is worked on', 'before it begins'])(
  'An abort ends the COPY %s',
  async (when) => {
    await using session = await open()
    const stop = new AbortController()
    const select = when.includes('computing') ? `select pg_sleep(60)::text` : many(5_000_000)
    if (when.includes('begins')) stop.abort()
    const stream = streamDocuments(session, select, { signal: stop.signal })
    if (when.includes('worked')) await stream.next()
    const next = stream.next()
    if (when.includes('computing')) await sleep(50)
    stop.abort()
    // A batch that was cut already may still come.
    const ends = async () => {
      for (let { done } = await next; !done;) ({ done } = await stream.next())
    }
    await expect(withDeadline('the end of an aborted stream', waitMs, ends())).rejects.toMatchObject({
      code: 'canceled',
    })
    // Before 14 a server that computes does not look whether anybody is there.
    if (when.includes('worked') || (when.includes('computing') && major >= 14)) await isGone(session)
  },
)

test.each([0, 1, 100_000, 3_000_000])('A connection that is lost after %i bytes is told as lost', async (bytes) => {
  await using between = await proxy()
  await using session = await open(between.url(database.url))
  between.cutAfterBytes(bytes, 'toClient')
  const cut = withDeadline('the end of a stream that was cut', waitMs, collect(session, many(100_000)))
  await expect(cut).rejects.toMatchObject({ code: 'connection-lost', retryable: true })
})

test('A session that an administrator ends is told as lost', async () => {
  await using session = await open()
  const client = await database.client()
  const stream = streamDocuments(session, many(5_000_000), { signal: never })
  await stream.next()
  await client.query('select pg_terminate_backend($1)', [session.backendPid])
  await client.end()
  const ends = async () => {
    for (let { done } = await stream.next(); !done;) ({ done } = await stream.next())
  }
  await expect(withDeadline('the end', waitMs, ends())).rejects.toMatchObject({ code: 'connection-lost' })
})

test('An error of a row ends the stream with its condition and without its value', async () => {
  await using session = await open()
  const select = `select '{"a":' || 1 / (20000 - n) || '}' from generate_series(1, 30000) n`
  const error = await collect(session, select).catch((thrown: unknown) => thrown)
  expect(error).toMatchObject({ code: 'query-failed', message: expect.stringContaining('division_by_zero') as string })
  const text = await collect(
    await open(),
    `select ('x' || n || 'secret')::int::text from generate_series(1, 2) n`,
  ).catch(String)
  expect(text).toContain('22P02')
  expect(text).not.toContain('secret')
})
