import { readFile } from 'node:fs/promises'
import type { JobView } from '@multiboard-sync/shared/protocol'
import { createDatabase, type TestDatabase } from '@multiboard-sync/shared/testing/test-database'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { withDeadline } from '../../shared/testing/postgres/deadline.ts'
import { openControl, type Control } from './road/control.ts'
import { startDaemon, type Daemon } from './road/daemon.ts'
import { COLLECTIONS, openShop, type Shop } from './search/shop.ts'

/*
 * Jobs of every kind, and failures of many, with secrets and row values that would be known anywhere again. Everything that
 * leaves the agent is looked through: what it says to the control plane, byte by byte; its own log; what people see of it.
 */

const STEP_TIMEOUT_MS = 60_000
/** In each row of production, in what its servers say of rows, and in what a search server says of documents. */
const ROW = 'canary-row-of-nobodys-business'
const SEARCH_ROW = 'canary-word-of-the-search-server'
const [PASSWORD, OTHER_PASSWORD] = ['canary/pass word%1', 'canary-pw-nowhere']
const CANARIES = `create table public."Canary" (id int primary key, name text not null`

let stack: AsyncDisposableStack
let shop: Shop
let control: Control
let daemon: Daemon
let secrets: string[]
const wire: Buffer[] = []
const logged: string[] = []
const streams: string[] = []

beforeAll(async () => {
  stack = new AsyncDisposableStack()
  shop = stack.use(
    await openShop({
      production: `${CANARIES});
        insert into public."Canary" select n, '${ROW} ' || n % 2 from generate_series(1, 50) n;
        update public."Category" set name = '${ROW} ' || id;`,
    }),
  )
  await shop.staging.query(`${CANARIES})`)
  const target = async (sql: string): Promise<TestDatabase> => stack.use(await createDatabase({ sql }))
  const strict = await target(`${CANARIES} unique)`)
  const judging = await target(`
    create function public.judge(text) returns boolean language plpgsql immutable as $$ begin return $1::int > 0; end $$;
    ${CANARIES} check (public.judge(name)))`)
  const shouting = await target(`${CANARIES});
    create function public.shout() returns trigger language plpgsql as
      $$ begin raise exception 'no: %', new.name using detail = new.name, hint = new.name; end $$;
    create trigger shout before insert on public."Canary" for each row execute function public.shout();
    alter table public."Canary" enable always trigger shout`)
  await shop.world.writePolicy(`
databases:
  production: { role: source, protected: true }
  ${['staging', 'strict', 'judging', 'shouting', 'locked', 'gone'].map((name) => `${name}: { role: both }`).join('\n  ')}
routes:
  ${['staging', 'strict', 'judging', 'shouting', 'locked', 'gone'].map((to) => `- { from: production, to: ${to} }`).join('\n  ')}
${COLLECTIONS.replaceAll(/^ {2}(\w+):$/gm, '  $1:\n    database: staging')}`)
  control = stack.use(
    await openControl(shop.world, undefined, {
      tap: (bytes, direction) => void (direction === 'toServer' && wire.push(bytes)),
      log: (record) => void logged.push(JSON.stringify(record)),
    }),
  )
  const locked = new URL(shop.world.target.url)
  locked.password = PASSWORD
  const env = {
    ...shop.env,
    ...control.env,
    STRICT_DATABASE_URL: strict.url,
    JUDGING_DATABASE_URL: judging.url,
    SHOUTING_DATABASE_URL: shouting.url,
    LOCKED_DATABASE_URL: locked.href,
    GONE_DATABASE_URL: `postgres://canary-user:${OTHER_PASSWORD}@127.0.0.1:1/canary-database?application_name=x`,
  }
  const { d = '' } = JSON.parse(await readFile(shop.world.env['AGENT_KEY_FILE'] ?? '', 'utf8')) as { d?: string }
  const urls = Object.entries(env).flatMap(([name, value]) => (name.endsWith('_DATABASE_URL') ? [value] : []))
  secrets = [
    ROW,
    SEARCH_ROW,
    PASSWORD,
    OTHER_PASSWORD,
    'canary-user',
    'canary-database',
    d,
    shop.env['S3_SECRET_ACCESS_KEY'] ?? '',
    shop.fake.apiKey,
    ...urls,
    ...urls.map((url) => URL.parse(url)?.password ?? ''),
  ].filter((secret) => secret !== '')
  daemon = await startDaemon(env)
  stack.defer(async () => await daemon.kill())
})
afterAll(async () => await stack.disposeAsync())

/** A job to its end, whatever that is; meanwhile somebody watches its stream. */
async function play(body: Record<string, unknown>): Promise<JobView> {
  const { id } = await control.ask(body)
  const watching = (async () => {
    for await (const frame of control.follow(id)) streams.push(JSON.stringify(frame))
  })()
  const done = await control.waitFor(id, 'succeeded', 'failed', 'refused')
  await withDeadline('the end of the stream', STEP_TIMEOUT_MS, watching)
  streams.push(JSON.stringify((await control.call('GET', `/v1/jobs/${id}`)).body))
  return done
}

const sync = (target: string, more: Record<string, unknown> = {}) => ({
  kind: 'sync',
  source: 'production',
  target,
  tables: ['public.Canary'],
  engine: 'truncate',
  ...more,
})

/** As it is, in a URL, in JSON, in base64: however something may be written that is not to be read. */
function spellings(secret: string): string[] {
  const bytes = Buffer.from(secret)
  return [
    secret,
    encodeURIComponent(secret),
    JSON.stringify(secret).slice(1, -1),
    bytes.toString('base64').replace(/=+$/, ''),
    bytes.toString('base64url'),
  ]
}

async function dump(): Promise<string> {
  const client = await control.database.client()
  const { rows } = await client.query<{ name: string }>(
    `select tablename as name from pg_tables where schemaname = 'multiboard' order by 1`,
  )
  const tables: string[] = []
  for (const { name } of rows) {
    const found = await client.query<{ text: string }>(`select to_jsonb(t)::text as text from multiboard.${name} t`)
    tables.push(`${name}: ${found.rows.map(({ text }) => text).join('\n')}`)
  }
  await client.end()
  return tables.join('\n')
}

test(
  'G11 T12: of jobs of every kind and failures of every sort no secret and no row value leaves the agent',
  { timeout: 180_000 },
  async () => {
    const ends: Record<string, string> = {}
    const note = (name: string, { state, code, result }: JobView): void => {
      ends[name] = [state, code ?? result?.search?.state ?? ''].join(' ').trim()
    }
    const whole = await play({ kind: 'sync', source: 'production', target: 'staging' })
    note('a sync with its search', whole)
    note('an undo', await play({ kind: 'undo', target: 'staging', job: whole.id }))
    note('a dry run', await play({ ...sync('staging'), engine: 'auto', dry_run: true }))
    const exported = await play({ kind: 'export', source: 'production' })
    note('an export', exported)
    const archive = exported.result?.archive?.id
    note('a restore', await play({ kind: 'restore', archive, target: 'staging' }))
    note('a unique row that is there twice', await play(sync('strict')))
    note('a check that fails at a value', await play(sync('judging')))
    note('a trigger that says the value', await play(sync('shouting')))
    note('a wrong password', await play(sync('locked')))
    note('a host that is not there', await play(sync('gone')))
    const refused = {
      success: false,
      error: `Bad ${SEARCH_ROW}`,
      document: JSON.stringify({ id: SEARCH_ROW }),
      code: 400,
    }
    shop.fake.faults.answer(200, JSON.stringify(refused), { times: 20 })
    note('documents that are refused', await play({ kind: 'reindex', source: 'staging', full: true }))
    shop.fake.faults.clear()
    shop.fake.faults.answer(500, `<h1>${SEARCH_ROW}</h1>`, { on: 'all', times: 200 })
    note('a search server that fails', await play({ kind: 'reindex', source: 'staging' }))
    shop.fake.faults.clear()
    note('a reindex', await play({ kind: 'reindex', source: 'staging', full: true }))
    await control.call('POST', `/v1/agents/vps1/revoke`)
    await expect.poll(() => daemon.log(), { timeout: STEP_TIMEOUT_MS }).toContain('agent-revoked')
    daemon.send('SIGTERM')
    await daemon.exited()

    expect(ends).toMatchInlineSnapshot(`
      {
        "a check that fails at a value": "failed load-failed",
        "a dry run": "succeeded",
        "a host that is not there": "failed database-unreachable",
        "a reindex": "succeeded fresh",
        "a restore": "succeeded fresh",
        "a search server that fails": "refused search-not-ready",
        "a sync with its search": "succeeded fresh",
        "a trigger that says the value": "succeeded",
        "a unique row that is there twice": "failed constraint-violated",
        "a wrong password": "failed database-auth",
        "an export": "succeeded",
        "an undo": "succeeded fresh",
        "documents that are refused": "failed search-failed",
      }
    `)
    const shown = await control.call('GET', '/v1/agents')
    const told = {
      wire: Buffer.concat(wire).toString('latin1'),
      'the agent’s log': daemon.log(),
      'the control plane’s log': logged.join('\n'),
      'the control plane’s database': await dump(),
      'what people see': [...streams, JSON.stringify(shown.body)].join('\n'),
    }
    // The jobs have been heard of at all these places: nothing is found in an empty text.
    for (const [place, text] of Object.entries(told)) {
      expect(text.length, place).toBeGreaterThan(2_000)
      const found = secrets.filter((secret) => spellings(secret).some((one) => text.includes(one)))
      expect({ place, found }).toEqual({ place, found: [] })
    }
    expect(told.wire).toContain('Canary')
  },
)
