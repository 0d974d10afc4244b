import { generateKeyPairSync, randomUUID, webcrypto } from 'node:crypto'

import { registerAgent } from '../../control-plane/src/agents/register-agent.ts'
import { defaultStreamTimes } from '../../control-plane/src/events/stream-events.ts'
import { openApp } from '../../control-plane/src/open-app.ts'
import { migrate } from '../../control-plane/src/store/migrate.ts'
import { openDatabase, type Database } from '../../control-plane/src/store/open-database.ts'
import { policySchema, policySha256 } from '../../shared/src/policy.ts'
import { viewPolicy } from '../../shared/src/policy-view.ts'
import { signRequest } from '../../shared/src/signed-request.ts'
import { fillControlPlane, type Past } from './fill-control-plane.ts'
import { watchDatabase, type Statement } from './watch-database.ts'

/** A control plane with a past, agents that sign, and a person, all in this process: no network is measured. */
export interface Scene extends AsyncDisposable {
  database: Database
  agents: readonly string[]
  /** Of the agents that have one, in their order. */
  running: readonly string[]
  /** Every statement since the last look, in its order. */
  takeStatements: () => Statement[]
  /** A request that is ready to be answered: signing it is not measured. */
  byAgent: (agent: string, path: string, body: object) => Promise<Request>
  byPerson: (method: string, path: string, body?: object) => Request
  answer: (request: Request) => Promise<Response>
  pollBody: (agent: string) => object
}

const ORIGIN = 'https://sync.example.com'
const TOKEN = 'an-admin-token-of-the-bench-0123456789'
/** So many agents have a running job, and one that waits for it. */
const BUSY = 10

export async function openScene(url: string, past: Omit<Past, 'agents' | 'busy'> & { agents: number }): Promise<Scene> {
  await using opened = new AsyncDisposableStack()
  // Statements that fail throw by themselves; a server that stops before its idle connections is no news.
  const database = opened.use(openDatabase(url, () => undefined))
  await migrate(database)
  const keys = new Map<string, webcrypto.CryptoKey>()
  for (let n = 0; n < past.agents; n += 1) {
    const agent = `vps${n}`
    const jwk = generateKeyPairSync('ed25519').privateKey.export({ format: 'jwk' })
    const { x = '' } = jwk
    await registerAgent(database, { id: agent, public_jwk: { kty: 'OKP', crv: 'Ed25519', x } }, 'admin')
    keys.set(agent, await webcrypto.subtle.importKey('jwk', jwk, { name: 'Ed25519' }, false, ['sign']))
  }
  const agents = [...keys.keys()]
  const running = await fillControlPlane(url, { ...past, agents, busy: agents.slice(0, BUSY) })
  let statements: Statement[] = []
  const watched = watchDatabase(database, (statement) => void statements.push(statement))
  const { app } = await openApp(
    {
      signingKey: generateKeyPairSync('ed25519').privateKey.export({ format: 'jwk' }),
      adminToken: TOKEN,
      issuers: [],
      lease: { leaseMs: 90_000, graceMs: 30_000 },
      limits: { person: 1e9, agent: 1e9, stranger: 1e9 },
      addressHeader: undefined,
    },
    {
      database: watched,
      origin: ORIGIN,
      stream: defaultStreamTimes,
      stopping: new AbortController().signal,
      log: () => undefined,
    },
  )
  const resources = opened.move()
  return {
    database,
    agents,
    running,
    takeStatements: () => {
      const taken = statements
      statements = []
      return taken
    },
    byAgent: async (agent, path, body) => {
      const text = JSON.stringify(body)
      const key = keys.get(agent)
      if (!key) throw new Error(`no agent ${agent}`)
      const authorization = await signRequest({ method: 'POST', path, body: text, origin: ORIGIN }, agent, key)
      const headers = { authorization, 'content-type': 'application/json' }
      return new Request(`${ORIGIN}${path}`, { method: 'POST', body: text, headers })
    },
    byPerson: (method, path, body) =>
      new Request(`${ORIGIN}${path}`, {
        method,
        headers: {
          authorization: `Bearer ${TOKEN}`,
          'content-type': 'application/json',
          'idempotency-key': randomUUID(),
        },
        ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      }),
    answer: async (request) => await app.request(request),
    pollBody,
    [Symbol.asyncDispose]: async () => await resources.disposeAsync(),
  }
}

function pollBody(agent: string): object {
  const policy = policySchema.parse({
    databases: { production: { role: 'source', protected: true }, [agent]: { role: 'target' } },
    routes: [{ from: 'production', to: agent }],
  })
  return {
    version: '0.1.0',
    boot_id: `boot-${agent}`,
    policy: viewPolicy(policy),
    policy_sha256: policySha256(policy),
    trusted_kids: [],
    databases: [],
    running: [],
  }
}
