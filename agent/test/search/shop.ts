import { jobParamsSchema } from '@multiboard-sync/shared/job'
import type { JobResult } from '@multiboard-sync/shared/protocol'
import { startTypesense, type FakeTypesense } from '@multiboard-sync/shared/testing/typesense'
import type pg from 'pg'
import { runLocalJob } from '../../src/cli/run-local-job.ts'
import { readEnv } from '../../src/env.ts'
import { openContext } from '../../src/open-context.ts'
import { openWorld, type World } from '../road/world.ts'

/*
 * For tests of whole jobs: production and staging with parts and categories, a bucket, a search server of our own, and an
 * agent whose agent.yaml makes documents of staging's rows.
 */

const SHOP = (parts: number): string => `
create table public."Category" (id int primary key, name text not null);
insert into public."Category" select n, 'category ' || n from generate_series(1, 20) n;
create table public."Part" (id int primary key, name text not null, price numeric(10,2), category int not null references public."Category");
insert into public."Part" select n, 'part ' || n, n * 1.25, 1 + n % 20 from generate_series(1, ${parts}) n;
create table public."Note" (id int primary key, text text not null);
insert into public."Note" select n, 'note ' || n from generate_series(1, 3) n;
analyze;`

export const ROUTES = `
databases:
  production: { role: source, protected: true }
  staging: { role: both }
  apart: { role: both }
routes:
  - { from: production, to: staging }
`

export const COLLECTIONS = `
collections:
  parts:
    sql: select p.id, p.name, p.price, c.name as category from public."Part" p join public."Category" c on c.id = p.category
    depends_on: [public."Part", public."Category"]
    fields:
      - { name: name, type: string }
      - { name: category, type: string, facet: true }
      - { name: price, type: float, optional: true, approximate: true }
  categories:
    from: public."Category"
    fields: [{ name: name, type: string }]
`

export interface Shop extends AsyncDisposable {
  world: World
  fake: FakeTypesense
  production: pg.Client
  staging: pg.Client
  env: Record<string, string>
  run(params: Record<string, unknown>, options?: RunOptions): Promise<Ran>
  /** production → staging. */
  sync(params?: Record<string, unknown>, options?: RunOptions): Promise<Ran>
  /** A document behind an alias, by its id; undefined when there is none. */
  find(alias: string, id: number): Record<string, unknown> | undefined
  /** How many are behind an alias. */
  count(alias: string): number
}

export interface RunOptions {
  dryRun?: boolean
  env?: Record<string, string>
  onEvent?: (type: string, data: Record<string, unknown>, cancel: AbortController) => void
}

export type Ran = JobResult & { id: string; events: { type: string; data: Record<string, unknown> }[] }

const DEADLINE_MS = 60_000

export interface ShopOptions {
  parts?: number
  /** Of staging, instead of a shop that is older than production. */
  staging?: string
  /** After the shop's own tables, in production. */
  production?: string
  version?: string
  collections?: string
}

export async function openShop(options: ShopOptions = {}): Promise<Shop> {
  const { parts = 40, production = '', staging = SHOP(parts - 5), version, collections = COLLECTIONS } = options
  await using made = new AsyncDisposableStack()
  const world = made.use(await openWorld({ source: { sql: SHOP(parts) + production }, target: { sql: staging } }))
  await world.writePolicy(ROUTES + collections)
  const fake = made.use(await startTypesense(version === undefined ? {} : { version }))
  const env = {
    ...world.env,
    TYPESENSE_HOST: fake.url,
    TYPESENSE_API_KEY: fake.apiKey,
    TYPESENSE_PATIENCE_SECONDS: '0',
    APART_DATABASE_URL: world.source.url,
  }
  const run: Shop['run'] = async (params, { dryRun = false, env: over = {}, onEvent } = {}) => {
    await using opened = await openContext(readEnv({ ...env, ...over }))
    const events: Ran['events'] = []
    const cancel = new AbortController()
    const sink = {
      phase: () => undefined,
      progress: () => undefined,
      event: ({ type, data }: Ran['events'][number]) => {
        events.push({ type, data })
        onEvent?.(type, data, cancel)
      },
    }
    const signal = AbortSignal.any([cancel.signal, AbortSignal.timeout(DEADLINE_MS)])
    const { job, result } = await runLocalJob(opened, jobParamsSchema.parse(params), { dryRun, sinks: [sink], signal })
    return { ...result, id: job.id, events }
  }
  const behind = (alias: string): string[] => fake.documents(fake.aliases().get(alias) ?? `nothing behind ${alias}`)
  const clients = { production: await world.source.client(), staging: await world.target.client() }
  const owned = made.move()
  return {
    world,
    fake,
    ...clients,
    env,
    run,
    sync: async (params = {}, options) =>
      await run({ kind: 'sync', source: 'production', target: 'staging', ...params }, options),
    find: (alias, id) =>
      behind(alias)
        .map((text) => JSON.parse(text) as Record<string, unknown>)
        .find((document) => document['id'] === String(id)),
    count: (alias) => behind(alias).length,
    [Symbol.asyncDispose]: async () => await owned.disposeAsync(),
  }
}

/** Of each collection how it ended, and by which way. */
export function waysOf({ search }: Pick<JobResult, 'search'>): Record<string, string> {
  return Object.fromEntries((search?.collections ?? []).map(({ alias, state, mode }) => [alias, `${state} ${mode}`]))
}
