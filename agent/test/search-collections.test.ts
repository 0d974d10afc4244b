import { policySchema, type Policy } from '@multiboard-sync/shared/policy'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { parse } from 'yaml'
import { z } from 'zod'
import { checkCollections, inferCollection } from '../src/cli/collections.ts'
import { generationName, writeGeneration } from '../src/reindex/generation.ts'
import { compileMapping } from '../src/reindex/mapping/compile-mapping.ts'
import { DEADLINE_MS, JOB, mappingOf, openPlace, openRows, type Place, type Rows } from './search-preflight-place.ts'

/* What the commands `collections check` and `collections infer` print. */

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

const policyOf = (collections: object): Policy =>
  policySchema.parse({ databases: { staging: { role: 'both' }, archive: { role: 'both' } }, collections })

const opened = (collections: object = { parts: mappingOf() }) => ({
  context: {
    policy: policyOf(collections),
    databaseUrl: () => rows.url,
    openTypesense: async () => await place.open(place.fake.apiKey),
  },
})

const check = async (aliases: string[] = [], collections?: object) =>
  await checkCollections(opened(collections), aliases, AbortSignal.timeout(DEADLINE_MS))

const checkedSchema = z.object({
  ok: z.boolean(),
  findings: z.array(z.string()),
  collections: z.array(
    z.object({
      alias: z.string(),
      collection: z.string().nullable(),
      documents: z.number().nullable(),
      rows: z.number().nullable(),
      mode: z.string(),
      drift: z.array(z.string()),
      beside: z.array(z.object({ collection: z.string() })),
    }),
  ),
})

describe('collections check', () => {
  it('tells what is live, what the rows make and what a reindex would do', async () => {
    const name = await place.makeLive()
    const { text, json, isWell } = await check()
    expect(isWell).toBe(true)
    expect(text).toContain(`  live      ${name}, 100 documents\n`)
    expect(text).toMatch(new RegExp(`^  made      2026-11-22T16:03:00.000Z by ${JOB}$`, 'm'))
    expect(text).toMatch(/^ {2}rows now {2}100 documents, .* of JSON/m)
    expect(text).toMatch(/^ {2}a reindex incremental: /m)
    expect(text).toMatch(/All is well: a reindex can begin\.$/)
    expect(checkedSchema.parse(json)).toMatchObject({
      ok: true,
      collections: [{ alias: 'parts', collection: name, documents: 100, rows: 100, mode: 'incremental', beside: [] }],
    })
  })

  it('tells previous generations that are kept apart from those that never were live', async () => {
    await place.makeLive()
    const compiled = await compileMapping(rows.session, 'parts', mappingOf())
    const made = async (job: string, at: string, replacedBy?: string): Promise<string> => {
      const generation = {
        alias: 'parts',
        job,
        made_at: at,
        mapping_sha256: compiled.sha256,
        state: 'complete' as const,
        ...(replacedBy === undefined ? {} : { replaced_by: replacedBy }),
      }
      const name = generationName('parts', new Date(at), job)
      await place.typesense.createCollection({ name, schema: compiled.schema, metadata: writeGeneration(generation) })
      return name
    }
    const kept = await made('j000000000001', '2026-11-20T10:00:00.000Z', JOB)
    const left = await made('j000000000002', '2026-11-21T10:00:00.000Z')
    const { text, json } = await check()
    expect(text).toContain(`  beside    ${kept}, 0 documents: was live until ${JOB}, kept for its undo\n`)
    expect(text).toContain(`  beside    ${left}, 0 documents: of job j000000000002, not live: `)
    expect(checkedSchema.parse(json).collections[0]?.beside).toEqual([{ collection: left }, { collection: kept }])
  })

  it('tells every finding below its collection, and how the schema has drifted', async () => {
    await place.makePlain('others')
    const { text, json, isWell } = await check([], {
      parts: mappingOf({ from: 'public.Nowhere' }),
      others: mappingOf(),
    })
    expect(isWell).toBe(false)
    expect(text).toMatch(/^parts, from staging\n(  .*\n)*  FAIL {6}.*Nowhere/m)
    expect(text).toMatch(/^others, from staging\n(  .*\n)*  to know {3}schema: .*qty.*\n  FAIL {6}a plain collection/m)
    expect(text).toMatch(/2 findings: no job reindexes before these are gone\.$/)
    const { ok, findings, collections } = checkedSchema.parse(json)
    expect(ok).toBe(false)
    expect(findings).toHaveLength(2)
    expect(collections[1]?.drift).toHaveLength(1)
  })

  it('looks at the named ones only, and knows no others than agent.yaml', async () => {
    const { json } = await check(['b'], { a: mappingOf(), b: mappingOf() })
    expect(checkedSchema.parse(json).collections.map(({ alias }) => alias)).toEqual(['b'])
    await expect(check(['c'])).rejects.toMatchObject({
      code: 'collection-unknown',
      hint: expect.stringMatching(/parts/),
    })
    await expect(check([], {})).rejects.toMatchObject({ code: 'collection-unknown' })
  })

  it('tells what is wrong with the server once, however many databases there are', async () => {
    place.fake.faults.full('OUT_OF_DISK')
    const { text, json } = await check([], { a: mappingOf(), b: mappingOf({ database: 'archive' }) })
    expect(text.match(/out of disk/g)).toHaveLength(1)
    expect(text).toMatch(/^b, from archive$/m)
    expect(checkedSchema.parse(json).findings).toEqual([expect.stringContaining('out of disk')])
  })

  it('writes nothing to the search server', async () => {
    await place.makeLive()
    const before = place.fake.requests.length
    await check()
    const writes = place.fake.requests.slice(before).filter(({ method, status }) => method !== 'GET' && status < 400)
    expect(writes).toEqual([])
  })
})

describe('collections infer', () => {
  it('prints a mapping that fits as it is, with a word on where to put it', async () => {
    const { text } = await inferCollection(opened(), 'staging', 'Part', AbortSignal.timeout(DEADLINE_MS))
    expect(text).toMatch(/^# A first mapping of Part.*staging/)
    expect(text).toContain('agent.yaml')
    const { collections } = policyOf(
      z.object({ collections: z.record(z.string(), z.unknown()) }).parse(parse(text)).collections,
    )
    const [[alias, mapping] = []] = Object.entries(collections)
    if (alias === undefined || mapping === undefined) throw new Error('nothing was inferred')
    expect((await compileMapping(rows.session, alias, mapping)).schema.fields.map(({ name }) => name)).toContain('name')
  })
})
