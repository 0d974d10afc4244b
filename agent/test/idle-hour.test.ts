import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { policySchema, policySha256 } from '@multiboard-sync/shared/policy'
import { createDatabase } from '@multiboard-sync/shared/testing/test-database'
import { exportJWK, generateKeyPair, type CryptoKey } from 'jose'
import { afterEach, expect, test, vi } from 'vitest'
import { registerAgent } from '../../control-plane/src/agents/register-agent.ts'
import { defaultStreamTimes } from '../../control-plane/src/events/stream-events.ts'
import { openApp } from '../../control-plane/src/open-app.ts'
import { migrate } from '../../control-plane/src/store/migrate.ts'
import { openDatabase, type Database } from '../../control-plane/src/store/open-database.ts'
import { runAgent } from '../src/agent.ts'
import { connectControlPlane } from '../src/poll/control-plane-client.ts'

/*
 * What an agent with nothing to do costs: the real loop and the real control plane, an hour of waiting left out. On
 * functions each request and each query is paid for.
 */

const HOUR_MS = 3_600_000
const ORIGIN = 'https://sync.example.com'

/** Called in place of waiting, while an agent idles. */
let waited: ((ms: number) => void) | undefined
vi.mock('node:timers/promises', async (original) => {
  const real = await original<typeof import('node:timers/promises')>()
  const wait: typeof real.setTimeout = async (ms, value, options) =>
    waited ? (waited(ms ?? 0), value as never) : await real.setTimeout(ms, value, options)
  return { ...real, setTimeout: wait }
})
afterEach(() => {
  waited = undefined
  vi.restoreAllMocks()
  vi.unstubAllGlobals()
})

interface Scene extends AsyncDisposable {
  requests: string[]
  statements: string[]
  /** Lets an agent do nothing for so long. */
  idle(agent: string, forMs: number): Promise<void>
}

async function openScene(): Promise<Scene> {
  await using opened = new AsyncDisposableStack()
  const { url } = opened.use(await createDatabase())
  const database = opened.use(openDatabase(url, (error) => void expect.fail(error.message)))
  await migrate(database)
  const folder = await mkdtemp(join(tmpdir(), 'mbs-idle-'))
  opened.defer(async () => await rm(folder, { recursive: true, force: true }))
  const requests: string[] = []
  const statements: string[] = []
  const counting: Database = {
    ...database,
    query: async (sql, values) => {
      statements.push(sql)
      return await database.query(sql, values)
    },
    transaction: async () => expect.fail('an idle poll needs no transaction'),
  }
  const { privateKey } = await generateKeyPair('EdDSA', { extractable: true })
  const lease = { leaseMs: 90_000, graceMs: 30_000 }
  const { app } = await openApp(
    { signingKey: await exportJWK(privateKey), lease, adminToken: undefined, issuers: [], addressHeader: undefined },
    {
      database: counting,
      origin: ORIGIN,
      stream: defaultStreamTimes,
      stopping: new AbortController().signal,
      log: () => undefined,
    },
  )
  vi.stubGlobal('fetch', async (input: URL, init: RequestInit) => {
    requests.push(input.pathname)
    return await app.request(input, init)
  })
  const resources = opened.move()
  return {
    requests,
    statements,
    idle: async (agent, forMs) => {
      const keys = await generateKeyPair('EdDSA', { extractable: true })
      const { x = '' } = await exportJWK(keys.publicKey)
      await registerAgent(database, { id: agent, public_jwk: { kty: 'OKP', crv: 'Ed25519', x } }, 'admin')
      await idle(agent, keys.privateKey, join(folder, agent), forMs)
    },
    [Symbol.asyncDispose]: async () => await resources.disposeAsync(),
  }
}

async function idle(agent: string, key: CryptoKey, stateDir: string, forMs: number): Promise<void> {
  const policy = policySchema.parse({ databases: { production: { role: 'source' }, staging: { role: 'target' } } })
  const context = {
    agent,
    stateDir,
    version: '0.1.0',
    policy,
    policySha256: policySha256(policy),
    // An empty bucket.
    store: { list: async function* () {}, listFolders: async () => [] },
    prefix: 'mbs',
  }
  const opened = { context, trust: { orderKids: () => [] }, redact: (text: string) => text }
  const settings = { current: async () => opened, reloaded: () => new AbortController().signal }
  const draining = new AbortController()
  let passedMs = 0
  waited = (ms) => {
    passedMs += ms
    if (passedMs >= forMs) draining.abort()
  }
  const options = {
    settings,
    controlPlane: connectControlPlane({ url: ORIGIN, agent, key, version: '0.1.0' }),
    issuer: ORIGIN,
    draining: draining.signal,
    stopping: new AbortController().signal,
  }
  // What an idle agent touches of its context is there.
  await runAgent(options as unknown as Parameters<typeof runAgent>[0])
  waited = undefined
}

test('G19: an idle hour is 300 polls of two statements each, and nothing else', async () => {
  vi.spyOn(process.stderr, 'write').mockReturnValue(true)
  vi.spyOn(Math, 'random').mockReturnValue(0.5)
  await using scene = await openScene()
  await scene.idle('vps', HOUR_MS)
  expect(scene.requests).toEqual(Array.from({ length: 300 }, () => '/v1/agent/poll'))
  expect(scene.statements).toHaveLength(600)
})

test('G19: ten agents cost ten times as much as one, but for the jitter', async () => {
  vi.spyOn(process.stderr, 'write').mockReturnValue(true)
  await using scene = await openScene()
  // Five minutes of each: 25 polls.
  for (let n = 0; n < 10; n += 1) await scene.idle(`vps${n}`, HOUR_MS / 12)
  expect(scene.requests.length).toBeGreaterThanOrEqual(235)
  expect(scene.requests.length).toBeLessThanOrEqual(270)
  expect(scene.statements).toHaveLength(2 * scene.requests.length)
})
