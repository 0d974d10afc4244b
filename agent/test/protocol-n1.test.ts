import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { createServer } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { generateKeyPair } from 'jose'
import { orderSchema } from '@multiboard-sync/shared/order'
import { signOrder } from '@multiboard-sync/shared/signed-order'
import { recorded, type RecordedCall } from '@multiboard-sync/shared/testing/protocol-v1-n1'
import { expect, test } from 'vitest'
import { parsePolicy } from '../src/config/read-policy.ts'
import { connectControlPlane, type ControlPlane } from '../src/poll/control-plane-client.ts'
import type { Answer } from '../src/poll/read-answer.ts'
import { openSeenOrders } from '../src/verify/seen-orders.ts'
import { verifyOrder } from '../src/verify/verify-order.ts'

/** What the previous version's control plane answered, given to today's agent. */

const ORIGIN = 'https://sync.example.com'
/** Of the agent that was recorded, in the words of its own version. */
const POLICY = `
databases:
  production: { role: source, protected: true }
  staging: { role: both }
  same: { role: target }
routes:
  - { from: production, to: staging, tables: { include: ["public.*"], exclude: ["public.Session"] }, collections: [components], max_row_drop_pct: 50 }
  - { from: production, to: same }
collections:
  components: { database: staging, from: 'public."Component"', fields: [{ name: name, type: string }] }
`

const calls = [...recorded('jobs'), ...recorded('refusals')].filter(
  (call): call is RecordedCall => 'who' in call && call.who === 'agent',
)

test('G17: every answer of the previous version is understood as it was meant', async () => {
  let current: RecordedCall | undefined
  const server = createServer((request, response) => {
    request.resume()
    const { status = 500, type = 'application/json', reply = {} } = current ?? {}
    const body = 'order' in reply ? { ...reply, order: 'an.order.token' } : reply
    response.writeHead(status, { 'content-type': type }).end(JSON.stringify(body))
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const address = server.address()
  if (address === null || typeof address === 'string') throw new Error('no port')
  const { privateKey } = await generateKeyPair('EdDSA', { crv: 'Ed25519' })
  const url = `http://127.0.0.1:${address.port}`
  const plane = connectControlPlane({ url, agent: 'vps1', key: privateKey, version: '1', timeoutMs: 10_000 })
  try {
    for (const call of calls) {
      current = call
      const answer = await callAs(plane, call).catch((error: unknown) => error)
      const label = `${call.path} ${call.status}`
      expect(answer, label).toMatchObject(meaningOf(call))
    }
  } finally {
    server.closeAllConnections()
    server.close()
  }
  expect(calls.length).toBeGreaterThan(60)
})

function meaningOf({ status, reply }: RecordedCall): object {
  if (status >= 400) return { status, code: reply['code'], ackAseq: reply['ack_aseq'], retryable: reply['retryable'] }
  const { order: _order, ...rest } = reply
  return { status, reply: rest }
}

async function callAs(plane: ControlPlane, { path, body }: RecordedCall): Promise<Answer<unknown>> {
  const [, , , verb, job = '', deed] = path.split('/')
  const signal = AbortSignal.timeout(20_000)
  // The bodies are what was recorded; the other package's tests send them to today's control plane.
  const sent = body as never
  if (verb === 'poll') return await plane.poll(sent, signal)
  if (verb === 'archives') return await plane.archives(sent, signal)
  if (deed === 'accept') return await plane.accept(job, sent, signal)
  if (deed === 'report') return await plane.report(job, sent, signal)
  return await plane.complete(job, sent, signal)
}

test('G17: every order of the previous version is taken, under the policy file of the previous version', async () => {
  const stateDir = await mkdtemp(join(tmpdir(), 'n1-'))
  const seen = await openSeenOrders(stateDir)
  const { privateKey, publicKey } = await generateKeyPair('EdDSA', { crv: 'Ed25519' })
  const kinds: string[] = []
  for (const { reply } of calls) {
    if (!reply.order) continue
    const { claims, header } = reply.order
    const nowS = Math.floor(Date.now() / 1000)
    const order = orderSchema.parse({ ...claims, iss: ORIGIN, iat: nowS, nbf: nowS, exp: nowS + 300 })
    const token = await signOrder(order, privateKey, header['kid'] ?? '')
    const taken = await verifyOrder(token, {
      agent: 'vps1',
      issuer: ORIGIN,
      policy: parsePolicy(POLICY, 'agent.yaml'),
      policySha256: order.policy_sha256,
      findKey: async () => publicKey,
      serverDate: new Date(),
      now: () => new Date(),
      seen,
      journaled: async () => undefined,
    })
    expect(taken).toEqual(order)
    kinds.push(taken.job.kind)
  }
  await seen[Symbol.asyncDispose]()
  await rm(stateDir, { recursive: true })
  expect(new Set(kinds)).toEqual(new Set(['sync', 'export', 'restore', 'undo', 'reindex']))
})
