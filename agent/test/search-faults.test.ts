import { setTimeout as pause } from 'node:timers/promises'
import type { SyncError } from '@multiboard-sync/shared/sync-error'
import { startTypesense, type FakeTypesense } from '@multiboard-sync/shared/testing/typesense'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { Batch } from '../src/reindex/cut-batches.ts'
import { importDocuments, type ImportOptions, type RefusedDocument } from '../src/reindex/import-documents.ts'
import type { Clock } from '../src/report/clock.ts'
import { openTypesense } from '../src/typesense/open-typesense.ts'
import type { Typesense } from '../src/typesense/typesense.ts'
import { waitUntilSettled } from '../src/typesense/wait-until-settled.ts'

/** What a search server does wrong while documents are sent to it, and that every document is there once all the same. */

const NAME = 'parts__1'
const BATCHES = 20
const LINES = 50
const DOCUMENTS = BATCHES * LINES
/** A second of waiting takes so long. */
const SHORT_SECOND_MS = 2
const quick: Clock = {
  monotonicMs: () => (performance.now() * 1000) / SHORT_SECOND_MS,
  now: () => new Date(),
  sleep: async (ms, signal) => {
    await pause((ms * SHORT_SECOND_MS) / 1000, undefined, { signal }).catch(() => signal.throwIfAborted())
  },
}

let server: FakeTypesense
let typesense: Typesense
let abort: AbortController

beforeEach(async () => {
  abort = new AbortController()
  server = await startTypesense({ apiKey: 'a-secret-key' })
  typesense = await openTypesense({ url: new URL(server.url), apiKey: server.apiKey, signal: abort.signal })
  const schema = { fields: [{ name: 'title', type: 'string' }] }
  await typesense.createCollection({ name: NAME, schema, metadata: {} })
})
afterEach(async () => {
  await typesense[Symbol.asyncDispose]()
  await server[Symbol.asyncDispose]()
})

const line = (n: number): string => `{"id":"part ${n}","title":"Part ${n}"}\n`

/** Counts how many batches were asked for, and whether the source was let go of. */
function source(batches = BATCHES, makeLine = line) {
  const state = { pulled: 0, isEnded: false }
  async function* generate(): AsyncGenerator<Batch> {
    try {
      for (let batch = 0; batch < batches; batch += 1) {
        state.pulled += 1
        const lines = Array.from({ length: LINES }, (_, n) => makeLine(batch * LINES + n))
        yield { body: Buffer.from(lines.join('')), lines: LINES }
      }
    } finally {
      state.isEnded = true
    }
  }
  return { state, batches: generate() }
}

interface Told {
  sent: number
  waiting: SyncError[]
  refused: RefusedDocument[]
}

async function send(options: Partial<ImportOptions> & { from?: ReturnType<typeof source> } = {}) {
  const told: Told = { sent: 0, waiting: [], refused: [] }
  const from = options.from ?? source()
  const counts = await importDocuments(typesense, NAME, from.batches, {
    action: 'create',
    signal: abort.signal,
    onSent: (lines) => void (told.sent += lines),
    onWaiting: (error) => void told.waiting.push(error),
    onRefused: (refused) => void told.refused.push(...refused),
    clock: quick,
    // A busy machine makes long seconds of them.
    giveUpAfterMs: 1e9,
    ...options,
  })
  return { counts, told, from }
}

const imports = () => server.requests.filter(({ path }) => path.endsWith('/import'))
const actions = () => imports().map(({ query }) => query.replace('?action=', ''))

function expectWhole(): void {
  const expected = Array.from({ length: DOCUMENTS }, (_, n) => line(n).trimEnd())
  expect(server.documents(NAME).toSorted()).toEqual(expected.toSorted())
}

it('a server that does nothing wrong gets every document once, with create', async () => {
  const { counts, told, from } = await send()
  expect(counts).toEqual({ sent: DOCUMENTS, refused: 0 })
  expect(told).toMatchObject({ sent: DOCUMENTS, waiting: [], refused: [] })
  expect(actions()).toEqual(Array.from({ length: BATCHES }, () => 'create'))
  expect(from.state.isEnded).toBe(true)
  expectWhole()
})

describe('what is waited out', () => {
  it.each<[string, string, () => void]>([
    ['503 storms', 'search-unreachable', () => server.faults.busy({ on: 'imports', times: 12, after: 3 })],
    ['a server that starts', 'search-unreachable', () => void (server.faults.starting(), setTimeout(clear, 40))],
    ['a gateway without its server', 'search-unreachable', () => server.faults.answer(502, '<html>', { times: 3 })],
    ['a gateway that waited too long', 'search-unreachable', () => server.faults.answer(504, '<html>', { times: 3 })],
    ['too many requests', 'search-unreachable', () => server.faults.answer(429, { message: 'slow down' })],
    ['a short reply', 'search-failed', () => server.faults.shortReply({ times: 3, after: 2 })],
    ['an empty reply', 'search-failed', () => server.faults.emptyReply({ times: 3, after: 2 })],
    ['a cut after the last byte, applied', 'search-unreachable', () => server.faults.cut({ applied: true, times: 3 })],
    ['a cut after the last byte, lost', 'search-unreachable', () => server.faults.cut({ applied: false, times: 3 })],
    ['a cut in the body', 'search-unreachable', () => server.faults.cutBody({ afterBytes: 1000, times: 3 })],
    ['a cut in the answer', 'search-unreachable', () => server.faults.cutReply({ afterBytes: 100, times: 3 })],
  ])('%s: every document is there once, and what was sent again went as upsert', async (_what, code, fail) => {
    fail()
    const { counts, told } = await send()
    expect(counts).toEqual({ sent: DOCUMENTS, refused: 0 })
    expect(told.sent).toBe(DOCUMENTS)
    expect(told.waiting.length).toBeGreaterThan(0)
    for (const error of told.waiting) expect(error).toMatchObject({ code, retryable: true })
    expect(actions().filter((action) => action === 'create')).toHaveLength(BATCHES)
    expect(actions().filter((action) => action === 'upsert')).toHaveLength(told.waiting.length)
    expectWhole()
  })

  const clear = (): void => server.faults.clear()

  it('trouble without end is given up, and the source is let go of', async () => {
    server.faults.busy()
    const from = source()
    await expect(send({ from, giveUpAfterMs: 20_000 })).rejects.toMatchObject({ code: 'search-unreachable' })
    expect(from.state).toEqual({ pulled: 2, isEnded: true })
  })
})

describe('what ends the import at once', () => {
  it.each<[string, string, () => void]>([
    ['no memory left', 'search-full', () => server.faults.full('OUT_OF_MEMORY')],
    ['no disk left', 'search-full', () => server.faults.full('OUT_OF_DISK')],
    ['a key that is taken away', 'search-auth', () => server.faults.forbid({ on: 'imports', after: 4 })],
    ['a redirect', 'search-failed', () => server.faults.answer(301, '', { after: 1 })],
    ['a proxy that takes no such bodies', 'search-failed', () => server.faults.answer(413, '<html>', { after: 1 })],
  ])('%s: nothing more is pulled or sent, the error bears no secret', async (_what, code, fail) => {
    fail()
    const from = source()
    const error = await send({ from }).catch((raised: unknown) => raised)
    expect(error).toMatchObject({ code, retryable: false })
    expect(from.state.isEnded).toBe(true)
    expect(from.state.pulled).toBeLessThan(8)
    // A batch that was in the air arrives still; none is sent twice.
    await pause(20)
    expect(imports().length).toBeLessThanOrEqual(from.state.pulled)
    expect(JSON.stringify([String(error), error])).not.toMatch(/a-secret-key|127\.0\.0\.1|part \d/)
  })

  it('a collection that is gone: it was dropped while documents were on their way', async () => {
    await typesense.dropCollection(NAME)
    await expect(send()).rejects.toMatchObject({ code: 'search-changed', retryable: false })
    await expect(typesense.deleteDocuments(NAME, ['1', '*'])).rejects.toMatchObject({ code: 'search-changed' })
    await expect(typesense.readDocument(NAME, '1')).rejects.toMatchObject({ code: 'search-changed' })
    await expect(typesense.exportDocuments(NAME)).rejects.toMatchObject({ code: 'search-changed' })
    await expect(typesense.searchAll(NAME)).rejects.toMatchObject({ code: 'search-changed' })
  })

  it('an error of the source: it is thrown as it is', async () => {
    async function* generate(): AsyncGenerator<Batch> {
      yield { body: Buffer.from(line(1)), lines: 1 }
      throw new Error('the database went away')
    }
    await expect(send({ from: { state: { pulled: 0, isEnded: false }, batches: generate() } })).rejects.toThrow(
      'the database went away',
    )
  })

  it.each(['stall', 'busy', 'delay'] as const)('an abort during %s', async (what) => {
    if (what === 'stall') server.faults.stall({ times: Infinity, after: 2 })
    if (what === 'busy') server.faults.busy({ after: 2 })
    if (what === 'delay') server.faults.delay(60_000, { times: Infinity })
    const from = source()
    const slow = { ...quick, sleep: async (_ms: number, signal: AbortSignal) => await quick.sleep(6e7, signal) }
    const sending = send({ from, clock: slow }).catch((raised: unknown) => raised)
    await pause(50)
    const atMs = performance.now()
    abort.abort(new Error('canceled'))
    expect(await sending).toEqual(new Error('canceled'))
    expect(performance.now() - atMs).toBeLessThan(2000)
    expect(from.state.isEnded).toBe(true)
  })
})

describe('documents that are refused', () => {
  const odd = (n: number): string => (n % 7 === 3 ? `{"id":"a\\"${n}","title":${n}}\n` : line(n))

  it('are told by their ids, the others are taken', async () => {
    const { counts, told } = await send({ from: source(BATCHES, odd) })
    const expected = Array.from({ length: DOCUMENTS }, (_, n) => n).filter((n) => n % 7 === 3)
    expect(counts).toEqual({ sent: DOCUMENTS - expected.length, refused: expected.length })
    expect(told.sent).toBe(counts.sent)
    expect(told.refused.map(({ id }) => id).toSorted()).toEqual(expected.map((n) => `a"${n}`).toSorted())
    for (const refused of told.refused) {
      expect(refused).toMatchObject({ code: 400, error: 'Field `title` must be a string.' })
    }
    expect(server.documents(NAME)).toHaveLength(counts.sent)
  })

  it('twice the same id is a conflict that is told without the id', async () => {
    const { told } = await send({ from: source(2, (n) => line(n % 99)) })
    expect(told.refused).toEqual([{ id: 'part 0', code: 409, error: 'A document with id … already exists.' }])
  })

  it('more than 10,000 of them end the import', async () => {
    const from = source(1000, (n) => `{"id":"${n}"}\n`)
    const { counts } = await send({ from })
    expect(counts.sent).toBe(0)
    expect(counts.refused).toBeGreaterThanOrEqual(10_000)
    expect(counts.refused).toBeLessThanOrEqual(10_000 + 2 * LINES)
    expect(from.state.isEnded).toBe(true)
  })
})

it.each([1, 2, 3])('a slow server is never sent more than %s batches at once', async (inFlight) => {
  server.faults.delay(5, { times: Infinity })
  const from = source()
  let answered = 0
  let most = 0
  const onSent = (): void => {
    answered += 1
    most = Math.max(most, from.state.pulled - answered + 1)
  }
  await send({ from, inFlight, onSent })
  expect(most).toBe(inFlight)
  expect(answered).toBe(BATCHES)
})

it('a server that is healthy and not caught up is waited for before anything is counted', async () => {
  await send()
  server.faults.fallBehind({ queued: 178, documents: 7 })
  expect(await typesense.health()).toEqual({ ok: true })
  expect(await typesense.findCollection(NAME)).toMatchObject({ documents: 7 })
  const told: SyncError[] = []
  const onWaiting = (error: SyncError): void => {
    told.push(error)
    server.faults.releaseIndexing()
  }
  await waitUntilSettled(typesense, { signal: abort.signal, onWaiting, clock: quick })
  expect(await typesense.findCollection(NAME)).toMatchObject({ documents: DOCUMENTS })
  expect(told[0]?.message).toBe('The search server still has 178 writes in its queue.')
})
