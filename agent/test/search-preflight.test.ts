import { SyncError } from '@multiboard-sync/shared/sync-error'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { openForReindex } from '../src/reindex/preflight/open-for-reindex.ts'
import { planReindex, type ReindexRequest } from '../src/reindex/preflight/plan-reindex.ts'
import {
  ALL_BUT_METRICS,
  DEADLINE_MS,
  JOB,
  mappingOf,
  openPlace,
  openRows,
  PARTS,
  type Place,
  type Rows,
} from './search-preflight-place.ts'

/* Everything that is known of the search before a database is touched: each finding alone, and all of them at once. */

let rows: Rows
beforeAll(async () => {
  rows = await openRows()
})
afterAll(async () => await rows[Symbol.asyncDispose]())

let place: Place
beforeEach(async () => {
  place = await openPlace(rows.session)
})
afterEach(async () => await place.close())

describe('a preflight without findings', () => {
  it('plans a full reindex where there is no index yet', async () => {
    const { mode, reason, live, rows } = await place.planned()
    expect({ mode, reason, live, rows }).toEqual({
      mode: 'full',
      reason: 'there is no index yet',
      live: undefined,
      rows: 100,
    })
  })

  it('plans an incremental reindex where mapping and schema are unchanged', async () => {
    const name = await place.makeLive()
    const { mode, live, generation, notices } = await place.planned()
    expect(mode).toBe('incremental')
    expect(live).toMatchObject({ name, documents: 100 })
    expect(generation).toMatchObject({ job: JOB, state: 'complete' })
    expect(notices).toEqual([])
  })

  it('plans a full reindex when it is asked for', async () => {
    await place.makeLive()
    expect(await place.planned({ full: true })).toMatchObject({ mode: 'full', reason: 'asked for' })
  })

  it('plans a full reindex with the difference as notices when the live schema has drifted', async () => {
    await place.makeLive()
    const mapping = mappingOf({ fields: [...PARTS.fields, { name: 'note', type: 'string', optional: true }] })
    const { mode, reason, notices } = await place.planned({ mappings: [['parts', mapping]] })
    expect(mode).toBe('full')
    expect(reason).toMatch(/schema behind the alias/)
    expect(notices).toEqual([expect.stringMatching(/^schema: .*note/)])
  })

  it('plans a full reindex when another query makes the same fields', async () => {
    await place.makeLive()
    const mapping = mappingOf({
      from: undefined,
      sql: 'select id, upper(name) as name, qty from public."Part"',
      depends_on: ['public.Part'],
    })
    expect((await place.planned({ mappings: [['parts', mapping]] })).reason).toBe('the mapping has changed')
  })

  it('plans a full reindex over a generation that was never proven', async () => {
    await place.makeLive({ state: 'building' })
    expect((await place.planned()).reason).toMatch(/never proven/)
  })

  it('does not look at rows that are not there yet', async () => {
    const mapping = mappingOf({ from: 'public.Odd', fields: [{ name: 'name', type: 'string' }] })
    const { rows } = await place.planned({ mappings: [['parts', mapping]], checkRows: false })
    expect(rows).toBeUndefined()
  })

  it('leaves the transaction that it was given as it was', async () => {
    await place.session.run('begin isolation level repeatable read read only')
    try {
      await place.planned()
      const broken = mappingOf({ from: undefined, sql: 'select nothing from nowhere' })
      await place.findings({ mappings: [['parts', broken]] })
      expect(await place.session.query('select 1 as one')).toEqual([{ one: 1 }])
      expect(place.session.client.getTransactionStatus()).toBe('T')
    } finally {
      await place.session.run('rollback')
    }
    await place.planned()
    expect(place.session.client.getTransactionStatus()).toBe('I')
  })
})

describe('a finding', () => {
  it('is a server that says it is not healthy', async () => {
    place.fake.faults.starting()
    expect(await place.findings()).toEqual([expect.stringMatching(/^search server: .*not ready/)])
  })

  it.each([
    ['OUT_OF_DISK', 'disk'],
    ['OUT_OF_MEMORY', 'memory'],
  ] as const)('is a server that is %s while it calls itself healthy', async (resource, word) => {
    place.fake.faults.full(resource)
    expect(await place.findings()).toEqual([expect.stringContaining(`search server: it is out of ${word}`)])
  })

  it('is a healthy server that has not caught up', async () => {
    place.fake.faults.fallBehind({ queued: 178 })
    expect(await place.findings()).toEqual([expect.stringMatching(/^search server: 178 writes waiting/)])
  })

  it('is not a queue that empties itself in a moment', async () => {
    place.fake.faults.fallBehind({ queued: 1 })
    const waiting = place.planned({ settleMs: DEADLINE_MS })
    await expect
      .poll(() => place.fake.requests.some(({ path }) => path === '/status'), { timeout: DEADLINE_MS })
      .toBe(true)
    place.fake.faults.releaseIndexing()
    expect((await waiting).mode).toBe('full')
  })

  it('is a server that takes no writes, beside everything else that is wrong', async () => {
    place.fake.faults.busy()
    const mappings: ReindexRequest['mappings'] = [
      ['parts', mappingOf({ fields: [{ name: 'nmae', type: 'string' }] })],
      ['others', mappingOf()],
    ]
    expect(await place.findings({ mappings })).toEqual([
      expect.stringMatching(/^search server: is not ready or lags behind/),
      expect.stringMatching(/^parts: nmae/),
    ])
  })

  it('is a server that is too old', async () => {
    await place.restart({ version: '26.0' })
    expect(await place.findings()).toEqual([
      expect.stringMatching(/^search server: its version is 26\.0 \(27 is the oldest/),
    ])
  })

  it('is a server that cannot be reached, and it is the only one', async () => {
    await place.fake.close()
    const broken = mappingOf({ from: 'public.Nowhere' })
    expect(await place.findings({ mappings: [['parts', broken]] })).toEqual([
      expect.stringMatching(/^search server: cannot be reached/),
    ])
  })

  it('is a key that the server does not know, and it is the only one', async () => {
    const opening = openForReindex(async () => await place.open('wrong'))
    await expect(opening).rejects.toMatchObject({
      code: 'search-not-ready',
      details: [expect.stringMatching(/^search server: refused the key/)],
    })
  })

  it('is a key that lacks rights, each of them named', async () => {
    const weak = await place.limitedKey(['collections:*', 'documents:search', 'documents:export', 'aliases:list'])
    const [finding, ...others] = await place.findings({ typesense: weak })
    expect(others).toEqual([])
    expect(finding).toMatch(/^parts: the key lacks documents:import, documents:get, documents:delete, aliases:upsert/)
    await weak[Symbol.asyncDispose]()
  })

  it('is a key whose collections do not cover the generations', async () => {
    const narrow = await place.limitedKey(['*'], ['parts'])
    expect(await place.findings({ typesense: narrow })).toEqual([
      expect.stringMatching(/^parts: the key lacks collections:create, .*must match parts\.\*/),
    ])
    await narrow[Symbol.asyncDispose]()
    const wide = await place.limitedKey(['*'], ['parts.*'])
    expect((await place.planned({ typesense: wide })).mode).toBe('full')
    await wide[Symbol.asyncDispose]()
  })

  it('is an alias that points to a collection which is not there', async () => {
    await place.makePlain('elsewhere')
    await place.typesense.putAlias('parts', 'elsewhere')
    await place.typesense.setMetadata('elsewhere', {})
    await place.remove('/collections/elsewhere')
    expect(await place.findings()).toEqual([
      expect.stringMatching(/^parts: the alias points to elsewhere, which does not exist.*DELETE \/aliases\/parts/),
    ])
  })

  it("is a plain collection that bears the alias's name, and how to adopt it is told", async () => {
    await place.makePlain('parts')
    expect(await place.findings()).toEqual([
      expect.stringMatching(/^parts: a plain collection bears this name, .*adopt: true/),
    ])
  })

  it('is a plain collection that hides the alias of its name', async () => {
    await place.makeLive()
    await place.post('/collections', { name: 'parts', fields: [{ name: 'name', type: 'string' }] })
    const adopting: ReindexRequest['mappings'] = [['parts', mappingOf({ adopt: true })]]
    const hidden = [expect.stringMatching(/^parts: .* hides the alias that points to parts__.*DELETE \/aliases\/parts/)]
    expect(await place.findings()).toEqual(hidden)
    expect(await place.findings({ mappings: adopting })).toEqual(hidden)
  })

  it('is a linked set that does not exist', async () => {
    await place.put('/synonym_sets/bolts', { items: [{ id: 'a', synonyms: ['bolt', 'screw'] }] })
    await place.makeLive({ synonymSets: ['bolts'] })
    await place.remove('/synonym_sets/bolts')
    expect(await place.findings()).toEqual([
      expect.stringMatching(/^parts: .*linked to the synonym set bolts.*does not exist/),
    ])
  })

  it('is a mapping that does not fit the database, each mistake by itself', async () => {
    const mapping = mappingOf({
      fields: [
        { name: 'nmae', type: 'string' },
        { name: 'qty', type: 'bool' },
      ],
    })
    const found = await place.findings({ mappings: [['parts', mapping]] })
    expect(found).toHaveLength(2)
    expect(found).toEqual([expect.stringMatching(/^parts: nmae: /), expect.stringMatching(/^parts: qty: /)])
  })

  it('is every kind of row that cannot be a document', async () => {
    const mapping = mappingOf({ from: 'public.Odd', fields: [{ name: 'name', type: 'string' }] })
    const found = (await place.findings({ mappings: [['parts', mapping]] })).join('\n')
    expect(found).toMatch(/^parts: .*name/m)
    expect(found.split('\n').length).toBeGreaterThanOrEqual(3)
    expect(found).not.toMatch(/'a'|"a"/)
  })

  it('is fewer documents than are ever made live', async () => {
    const mapping = mappingOf({ verify: { ...PARTS.verify, min_count: 101 } })
    expect(await place.findings({ mappings: [['parts', mapping]] })).toEqual([
      expect.stringMatching(/^parts: the rows make 100 documents, and fewer than 101/),
    ])
  })

  it('is an index that would shrink beyond the limit', async () => {
    await place.makeLive({ documents: 200 })
    expect(await place.findings()).toEqual([
      expect.stringMatching(/^parts: 100 documents would take the place of 200: 50 %/),
    ])
    const allowed = mappingOf({ verify: { ...PARTS.verify, max_shrink_pct: 50 } })
    await expect(place.plan({ mappings: [['parts', allowed]] })).resolves.toHaveLength(1)
  })

  it('is a server without room for a new generation beside the live one', async () => {
    place.fake.capacity.memoryUsedBytes = place.fake.capacity.memoryTotalBytes - 100
    expect(await place.findings()).toEqual([expect.stringMatching(/^parts: a new generation takes about .* of memory/)])
  })

  it('is told together with all others, of every collection', async () => {
    await place.makePlain('parts')
    await place.makePlain('elsewhere')
    await place.typesense.putAlias('others', 'elsewhere')
    await place.remove('/collections/elsewhere')
    place.fake.faults.full('OUT_OF_DISK')
    place.fake.capacity.diskUsedBytes = place.fake.capacity.diskTotalBytes
    const found = await place.findings({
      mappings: [
        ['parts', mappingOf({ fields: [{ name: 'nmae', type: 'string' }] })],
        ['others', mappingOf({ from: 'public.Odd', fields: [{ name: 'name', type: 'string' }] })],
        ['third', mappingOf({ from: 'public.Nowhere' })],
        ['fourth', mappingOf()],
      ],
    })
    const of = (alias: string): string[] => found.filter((finding) => finding.startsWith(`${alias}: `))
    expect(of('search server')).toHaveLength(1)
    expect(of('parts')).toHaveLength(2)
    expect(of('others').length).toBeGreaterThanOrEqual(3)
    expect(of('third')).toHaveLength(1)
    expect(of('fourth')).toEqual([expect.stringMatching(/of disk/)])
  })
})

describe('a notice', () => {
  it('is what adoption will do to a plain collection', async () => {
    await place.makePlain('parts')
    const { mode, live, generation, notices } = await place.planned({
      mappings: [['parts', mappingOf({ adopt: true })]],
    })
    expect({ mode, live: live?.name, generation }).toEqual({ mode: 'full', live: 'parts', generation: undefined })
    expect(notices).toEqual([
      expect.stringMatching(/^a plain collection bears this name: .* dropped.*a copy of it is kept for undo/),
      expect.stringMatching(/^schema: .*qty/),
    ])
  })

  it('is a foreign collection behind the alias, which stays', async () => {
    await place.makePlain('elsewhere')
    await place.typesense.putAlias('parts', 'elsewhere')
    const { mode, notices } = await place.planned()
    expect(mode).toBe('full')
    expect(notices[0]).toMatch(/^elsewhere was not made for this alias: .* stays/)
  })

  it('is another alias that reaches the same collection', async () => {
    const name = await place.makeLive()
    await place.typesense.putAlias('old-parts', name)
    expect((await place.planned()).notices).toEqual([`${name} is reached through old-parts, too`])
  })

  it('is a version that nobody has tried', async () => {
    await place.restart({ version: '31.1' })
    expect((await place.planned()).notices).toEqual([
      expect.stringMatching(/^its version is 31\.1: nobody has tried this/),
    ])
  })

  it('is a key that may not read metrics, so that room is not looked at', async () => {
    const key = await place.limitedKey(ALL_BUT_METRICS)
    expect((await place.planned({ typesense: key })).notices).toEqual([expect.stringMatching(/metrics\.json:list/)])
    await key[Symbol.asyncDispose]()
  })

  it('is what belongs to a collection before version 30 and is copied', async () => {
    await place.restart({ version: '29.0' })
    const name = await place.makeLive()
    await place.put(`/collections/${name}/synonyms/a`, { synonyms: ['bolt', 'screw'] })
    expect((await place.planned()).notices).toEqual([])
    expect((await place.planned({ full: true })).notices).toEqual([`1 synonym of ${name}: copied to its successor`])
  })

  it('is room that may become tight', async () => {
    place.fake.capacity.diskUsedBytes = place.fake.capacity.diskTotalBytes - 5000
    expect((await place.planned()).notices).toEqual([expect.stringMatching(/^disk may become tight/)])
  })
})

describe('a preflight', () => {
  it('writes nothing: what it asks beside GETs is refused by the server, and everything is as it was', async () => {
    const name = await place.makeLive()
    await place.makePlain('elsewhere')
    const before = {
      collections: place.fake.collections(),
      aliases: place.fake.aliases(),
      documents: place.fake.documents(name),
    }
    place.fake.requests.length = 0
    await place.plan({
      mappings: [
        ['parts', mappingOf()],
        ['others', mappingOf()],
      ],
    })
    await place.plan({ full: true })
    const writes = place.fake.requests.filter(({ method }) => method !== 'GET')
    expect(writes.length).toBeGreaterThan(0)
    for (const { method, path, status } of writes) expect([400, 404], `${method} ${path}`).toContain(status)
    expect({
      collections: place.fake.collections(),
      aliases: place.fake.aliases(),
      documents: place.fake.documents(name),
    }).toEqual(before)
  })

  it('sends nothing but GETs to a server that has not caught up', async () => {
    place.fake.faults.fallBehind()
    place.fake.requests.length = 0
    await place.findings()
    expect(place.fake.requests.filter(({ method }) => method !== 'GET')).toEqual([])
  })

  it('ends at once when it is canceled while it waits', async () => {
    place.fake.faults.fallBehind()
    const canceling = new AbortController()
    const mappings: ReindexRequest['mappings'] = [['parts', mappingOf()]]
    const request = { typesense: place.typesense, mappings, session: place.session, checkRows: true, full: false }
    const waiting = planReindex(request, canceling.signal)
    await expect
      .poll(() => place.fake.requests.some(({ path }) => path === '/status'), { timeout: DEADLINE_MS })
      .toBe(true)
    canceling.abort(new SyncError('canceled', 'The job was canceled.'))
    await expect(waiting).rejects.toMatchObject({ code: 'canceled' })
  })
})
