import { randomUUID } from 'node:crypto'
import { mkdtemp, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { newJobId, type JobParams } from '@multiboard-sync/shared/job'
import type { Order } from '@multiboard-sync/shared/order'
import { policySha256 } from '@multiboard-sync/shared/policy'
import { signOrder } from '@multiboard-sync/shared/signed-order'
import { calculateJwkThumbprint, exportJWK, generateKeyPair, type CryptoKey } from 'jose'
import { runAgent } from '../../src/agent.ts'
import { parsePolicy } from '../../src/config/read-policy.ts'
import { readEnv } from '../../src/env.ts'
import { openContext, type OpenedContext } from '../../src/open-context.ts'
import { connectControlPlane } from '../../src/poll/control-plane-client.ts'
import { openSettings } from '../../src/reload-settings.ts'

/** Agents in this process, all with one key, and orders that a control plane's key has signed. */

/** With a route, so that what the agent tells of its policy is more than names. */
const POLICY = `
databases:
  production: { role: source }
  staging: { role: target }
routes:
  - { from: production, to: staging, tables: { include: ["public.*"] }, max_row_drop_pct: 50 }
`

export interface Keys {
  agent: { publicKey: CryptoKey; privateKey: CryptoKey }
  order: CryptoKey
  kid: string
  files: { AGENT_CONFIG: string; AGENT_KEY_FILE: string; TRUST_FILE: string }
}

/** Keys, trust file and policy in a folder. */
export async function writeInstallation(dir: string): Promise<Keys> {
  const agent = await generateKeyPair('EdDSA', { crv: 'Ed25519', extractable: true })
  const order = await generateKeyPair('EdDSA', { crv: 'Ed25519', extractable: true })
  const jwk = await exportJWK(order.publicKey)
  const kid = await calculateJwkThumbprint(jwk)
  const files = {
    AGENT_CONFIG: join(dir, 'agent.yaml'),
    AGENT_KEY_FILE: join(dir, 'agent.key.json'),
    TRUST_FILE: join(dir, 'trust.json'),
  }
  await writeFile(files.AGENT_CONFIG, POLICY)
  await writeFile(files.AGENT_KEY_FILE, JSON.stringify(await exportJWK(agent.privateKey)))
  await writeFile(files.TRUST_FILE, JSON.stringify({ keys: [{ kid, use: 'order', jwk }] }))
  return { agent, order: order.privateKey, kid, files }
}

export async function newStateDir(): Promise<string> {
  return await mkdtemp(join(tmpdir(), 'trust-state-'))
}

export interface RunningAgent extends AsyncDisposable {
  /** Rejects when the agent's loop threw: it never may. */
  ended: Promise<void>
}

/** Starts the agent's loop; `change` may put something else in the place of what it works with. */
export async function startAgent(
  env: Record<string, string>,
  origin: string,
  change: (opened: OpenedContext) => OpenedContext = (opened) => opened,
  more: { tellForMs?: number } = {},
): Promise<RunningAgent> {
  const agentEnv = readEnv(env)
  const opened = await openContext(agentEnv)
  const [draining, stopping] = [new AbortController(), new AbortController()]
  const controlPlane = connectControlPlane({
    url: origin,
    agent: agentEnv.AGENT_ID,
    key: opened.key.privateKey,
    version: '1',
    timeoutMs: 5_000,
  })
  const settings = openSettings(agentEnv, change(opened))
  const ended = runAgent({
    settings,
    controlPlane,
    issuer: origin,
    draining: draining.signal,
    stopping: stopping.signal,
    ...more,
  })
  ended.catch(() => undefined)
  return {
    ended,
    [Symbol.asyncDispose]: async () => {
      draining.abort()
      stopping.abort()
      await ended
      await opened[Symbol.asyncDispose]()
    },
  }
}

/** A good order for an agent, from now on. */
export async function makeOrder(
  keys: Keys,
  facts: { agent: string; origin: string; params: JobParams; job?: string },
): Promise<{ token: string; order: Order }> {
  const nowS = Math.floor(Date.now() / 1000)
  const order: Order = {
    iss: facts.origin,
    aud: `agent:${facts.agent}`,
    iat: nowS,
    nbf: nowS,
    exp: nowS + 300,
    jti: randomUUID(),
    job: { id: facts.job ?? newJobId(), kind: facts.params.kind, epoch: 1, fence: 1 },
    requester: 'somebody',
    params: facts.params,
    policy_sha256: policySha256(parsePolicy(POLICY, 'agent.yaml')),
  }
  return { token: await signOrder(order, keys.order, keys.kid), order }
}
