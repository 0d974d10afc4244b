import fc from 'fast-check'
import { expect, test } from 'vitest'
import { cleanUp } from '../src/reindex/clean-up.ts'
import { dropLeftover, findLeftoverGenerations } from '../src/reindex/full/find-leftover-generations.ts'
import { settleGenerations } from '../src/reindex/full/settle-generations.ts'
import { generationName, readGeneration, writeGeneration, type Generation } from '../src/reindex/generation.ts'
import { startTypesense, type FakeTypesense } from '@multiboard-sync/shared/testing/typesense'
import { openTypesense } from '../src/typesense/open-typesense.ts'
import type { Typesense } from '../src/typesense/typesense.ts'
import { jobOf } from './search/scene.ts'

/*
 * Any set of collections, aliases and metadata that can be on a search server, ours and others': what clean-up, tidy and
 * settle may drop of it.
 */

const ALIASES = ['parts', 'parts_2', 'people']
const JOBS = [1, 2, 3, 4].map(jobOf)
const job = fc.constantFrom(...JOBS)
const alias = fc.constantFrom(...ALIASES)

/** A collection of our making, or what looks like one more or less. */
const collection = fc
  .record({
    alias,
    job,
    at: fc.integer({ min: 0, max: 30 }),
    state: fc.constantFrom('building' as const, 'complete' as const),
    replacedBy: fc.option(job, { nil: undefined }),
    like: fc.constantFrom(
      'ours',
      'ours',
      'ours',
      'ours',
      'unmarked',
      'otherJob',
      'otherAlias',
      'garbled',
      'otherName',
      'plain',
    ),
  })
  .map(({ at, like, replacedBy, ...made }) => {
    const time = new Date(Date.UTC(2026, 10, 22, 12, 0, at))
    const generation: Generation = {
      alias: like === 'otherAlias' ? 'somebody' : made.alias,
      job: like === 'otherJob' ? jobOf(999) : made.job,
      made_at: time.toISOString(),
      mapping_sha256: 'any',
      state: made.state,
      ...(replacedBy === undefined ? {} : { replaced_by: replacedBy }),
    }
    const ours = generationName(made.alias, time, made.job)
    const name = like === 'plain' ? made.alias : like === 'otherName' ? `${made.alias}_${at}` : ours
    const metadata =
      like === 'unmarked' ? {} : like === 'garbled' ? { multiboard_sync: { alias: 7 } } : writeGeneration(generation)
    return { name, metadata }
  })

const server = fc.record({
  collections: fc.uniqueArray(collection, { maxLength: 12, selector: ({ name }) => name }),
  /** Picks what each alias points to; past the end: nothing. */
  targets: fc.record({ parts: fc.nat(14), parts_2: fc.nat(14), other: fc.nat(14) }),
})
type Server = typeof server extends fc.Arbitrary<infer Value> ? Value : never

interface Arranged {
  fake: FakeTypesense
  typesense: Typesense
  aliases: ReadonlyMap<string, string>
}

/** The same fake server for every run; its state is made anew. */
async function arrange(arranged: Omit<Arranged, 'aliases'>, { collections, targets }: Server): Promise<Arranged> {
  const { fake } = arranged
  const ask = async (method: string, path: string, body?: object) => {
    const headers = { 'x-typesense-api-key': fake.apiKey }
    const sent = body === undefined ? {} : { body: JSON.stringify(body) }
    const { status } = await fetch(`${fake.url}${path}`, { method, headers, ...sent })
    if (status >= 300) throw new Error(`${method} ${path}: ${status}`)
  }
  for (const name of fake.aliases().keys()) await ask('DELETE', `/aliases/${name}`)
  for (const name of fake.collections()) await ask('DELETE', `/collections/${name}`)
  for (const { name, metadata } of collections) {
    await ask('POST', '/collections', { name, metadata, fields: [{ name: 'x', type: 'string' }] })
  }
  for (const [name, index] of Object.entries(targets)) {
    const target = collections[index]
    if (target && !collections.some((one) => one.name === name)) {
      await ask('PUT', `/aliases/${name}`, { collection_name: target.name })
    }
  }
  return { ...arranged, aliases: fake.aliases() }
}

async function hold(work: (arranged: Arranged, state: Server) => Promise<void>, runs: number): Promise<void> {
  await using fake = await startTypesense()
  const signal = AbortSignal.timeout(50_000)
  await using typesense = await openTypesense({ url: new URL(fake.url), apiKey: fake.apiKey, signal })
  const property = fc.asyncProperty(
    server,
    async (state) => await work(await arrange({ fake, typesense }, state), state),
  )
  await fc.assert(property, { numRuns: runs })
}

const generationOf = (found: { name: string; metadata: Record<string, unknown> }) => readGeneration(found)

test('Clean-up drops only previous generations of its alias, keeps as many as are to be kept, and touches no aliases', async () => {
  await hold(async ({ fake, typesense, aliases }, { collections }) => {
    const keep = collections.length % 3
    const dropped = await cleanUp(typesense, 'parts', keep, { job: JOBS[0] ?? '' })
    expect(fake.aliases()).toEqual(aliases)
    const left = fake.collections()
    expect(
      collections
        .map(({ name }) => name)
        .filter((name) => !left.includes(name))
        .toSorted(),
    ).toEqual(dropped.toSorted())
    const aliased = new Set(aliases.values())
    const previous = collections.filter((one) => {
      const generation = generationOf(one)
      return generation?.alias === 'parts' && generation.replaced_by !== undefined && generation.state === 'complete'
    })
    for (const name of dropped) {
      expect(aliased).not.toContain(name)
      expect(previous.map((one) => one.name)).toContain(name)
    }
    const spare = previous.filter(({ name }) => !aliased.has(name))
    const kept = spare.filter(({ name }) => left.includes(name))
    expect(kept).toHaveLength(Math.min(keep, spare.length))
    // What this job has replaced is what its undo needs.
    const needed = spare.filter((one) => generationOf(one)?.replaced_by === JOBS[0])
    const keptOfJob = kept.filter((one) => generationOf(one)?.replaced_by === JOBS[0])
    expect(keptOfJob).toHaveLength(Math.min(keep, needed.length))
  }, 40)
})

test('Leftovers are what finished jobs never proved, and nothing else is dropped with them', async () => {
  await hold(async ({ fake, typesense, aliases }, { collections }) => {
    const finished = new Set([JOBS[0], JOBS[1]])
    const leftovers = await findLeftoverGenerations(typesense, (one) => finished.has(one))
    for (const leftover of leftovers) expect(await dropLeftover(typesense, leftover)).toBe(true)
    const aliased = new Set(aliases.values())
    const expected = collections.filter((one) => {
      const generation = generationOf(one)
      const isUnproven = generation?.state === 'building' && !generation.replaced_by
      return generation && isUnproven && finished.has(generation.job) && !aliased.has(one.name)
    })
    expect(leftovers.map((one) => one.collection).toSorted()).toEqual(expected.map(({ name }) => name).toSorted())
    const left = fake.collections()
    expect(left).toHaveLength(collections.length - expected.length)
    expect(fake.aliases()).toEqual(aliases)
    // By now an alias points to one, or it is gone: nothing happens.
    for (const leftover of leftovers) expect(await dropLeftover(typesense, leftover)).toBe(false)
  }, 40)
})

test('Settling a job drops only what its journal names, and moves no alias that points anywhere', async () => {
  await hold(async ({ fake, typesense, aliases }, { collections }) => {
    const settled = JOBS[0] ?? ''
    // A journal that names everything: also what is not of this job.
    const made = collections.map(({ name }) => ({ alias: 'parts', collection: name }))
    const adopting = made.slice(0, 2).map((one) => ({ ...one, plain: 'parts' }))
    const { finished, dropped } = await settleGenerations(typesense, settled, made, adopting)
    for (const [name, target] of aliases) expect(fake.aliases().get(name)).toBe(target)
    const added = [...fake.aliases().keys()].filter((name) => !aliases.has(name))
    expect(added).toEqual(finished)
    const reached = new Set(fake.aliases().values())
    for (const name of dropped) {
      expect(reached).not.toContain(name)
      expect(name.endsWith(`_${settled}`)).toBe(true)
    }
    const left = fake.collections()
    expect(left).toHaveLength(collections.length - dropped.length)
    for (const name of finished) expect(left).toContain(fake.aliases().get(name))
  }, 40)
})
