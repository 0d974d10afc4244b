import { once } from 'node:events'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import { setTimeout as sleep } from 'node:timers/promises'
import { phaseSchema, type Phase } from '@multiboard-sync/shared/job'
import { reportRequestSchema, type ReportRequest } from '@multiboard-sync/shared/protocol'
import { verifyRequest } from '@multiboard-sync/shared/signed-request'
import type { SyncError } from '@multiboard-sync/shared/sync-error'
import { generateKeyPair } from 'jose'
import { describe, expect, test } from 'vitest'
import { until } from '../../shared/testing/postgres/deadline.ts'
import { keepLease } from '../src/report/keep-lease.ts'
import { openLeaseMemory, type LeaseMemory } from '../src/report/lease-memory.ts'
import type { Caller } from '../src/report/lease-messages.ts'

/** The lease's thread against a real HTTP server; what it tells and writes is looked at from the main thread. */

const JOB = 'j4k7q2m9xw1ab'
const PATH = `/sync/v1/agent/jobs/${JOB}/report`
const LEASE_MS = 2000
const WAIT_MS = 20_000
const RENEWED = { lease_ms: LEASE_MS, cancel: false, ack_aseq: 0, next_batch_ms: 2000 }

type Answer = (response: ServerResponse) => void

interface Scene extends AsyncDisposable {
  memory: LeaseMemory
  requests: ReportRequest[]
  renewals: { cancel: boolean; phase: Phase }[]
  refusals: number
  ends: SyncError[]
  answer: Answer
}

const json =
  (status: number, body: object): Answer =>
  (response) => {
    const type = status < 400 ? 'application/json' : 'application/problem+json'
    response.writeHead(status, { 'content-type': type }).end(JSON.stringify(body))
  }

/** A lease that was renewed just now, and a thread that keeps it. */
async function openScene(phase: Phase = 'swapping', findCaller?: () => Promise<Caller>): Promise<Scene> {
  await using made = new AsyncDisposableStack()
  const { privateKey, publicKey } = await generateKeyPair('EdDSA', { crv: 'Ed25519' })
  const handle = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
    const chunks: Buffer[] = []
    for await (const chunk of request) chunks.push(chunk as Buffer)
    const body = Buffer.concat(chunks).toString('utf8')
    const facts = { method: 'POST', path: PATH, body, origin: `http://${request.headers.host}` }
    await verifyRequest(request.headers.authorization, facts, 'vps1', publicKey)
    scene.requests.push(reportRequestSchema.parse(JSON.parse(body)))
    scene.answer(response)
  }
  // What is not signed as the control plane wants it gets no answer.
  const server = createServer((request, response) => void handle(request, response).catch(() => response.destroy()))
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  made.defer(() => void server.close())
  made.defer(() => server.closeAllConnections())
  const address = server.address()
  if (address === null || typeof address === 'string') throw new Error('no port')
  const memory = openLeaseMemory()
  memory.noteRenewal(memory.stamp(), LEASE_MS)
  memory.noteMovement()
  memory.setPhase(phaseSchema.options.indexOf(phase))
  // A path before ours, as behind a proxy.
  const caller = { url: `http://127.0.0.1:${address.port}/sync`, agent: 'vps1', key: privateKey, version: '1' }
  made.use(
    keepLease({
      caller: findCaller ?? (async () => await Promise.resolve(caller)),
      job: JOB,
      epoch: 3,
      memory,
      onRenewed: (news) => void scene.renewals.push(news),
      onRefused: () => (scene.refusals += 1),
      onEnd: (error) => scene.ends.push(error),
    }),
  )
  const owned = made.move()
  const scene: Scene = {
    memory,
    requests: [],
    renewals: [],
    refusals: 0,
    ends: [],
    answer: json(200, RENEWED),
    [Symbol.asyncDispose]: async () => await owned.disposeAsync(),
  }
  return scene
}

async function sees(what: string, isSeen: () => boolean): Promise<void> {
  await until(what, WAIT_MS, async () => await Promise.resolve(isSeen()))
}

describe.concurrent("the lease's thread", () => {
  test('tells the phase, the standstill and no events when the main thread has not renewed in time', async () => {
    await using scene = await openScene('swapping')
    await sees('two renewals', () => scene.renewals.length >= 2)
    const [first, second] = scene.requests
    expect(first).toMatchObject({ epoch: 3, phase: 'swapping', events: [] })
    expect(first?.stalled_ms).toBeGreaterThan(500)
    expect(second?.stalled_ms).toBeGreaterThan(first?.stalled_ms ?? 0)
    expect(scene.renewals[0]).toMatchObject({ cancel: false, phase: 'swapping' })
    // A quarter less than what was given.
    expect(scene.memory.remainingMs()).toBeGreaterThan(0)
    expect(scene.memory.remainingMs()).toBeLessThanOrEqual(LEASE_MS * 0.75)
  })

  test('sends nothing as long as the main thread renews', async () => {
    await using scene = await openScene()
    for (let n = 0; n < 12; n += 1) {
      await sleep(250)
      scene.memory.noteRenewal(scene.memory.stamp(), LEASE_MS)
    }
    expect(scene.requests).toEqual([])
  })

  test('lets the deadline pass when what answers is not the control plane, and goes on asking', async () => {
    const wrong: Answer[] = [
      (response) =>
        void response.writeHead(200, { 'content-type': 'text/html' }).end('{"lease_ms":9000,"cancel":true}'),
      (response) => void response.writeHead(403, { 'content-type': 'text/html' }).end('<h1>Forbidden</h1>'),
      (response) => void response.writeHead(302, { location: 'http://127.0.0.1:1/' }).end(),
      (response) => void response.writeHead(200, { 'content-type': 'application/json' }).end('{"lease_ms":'),
      json(200, { lease_ms: 'long', cancel: false }),
      (response) => void response.destroy(),
      json(503, { type: 'about:blank', title: 'later', status: 503, code: 'internal' }),
    ]
    await using scene = await openScene()
    let n = 0
    scene.answer = (response) => wrong[n++ % wrong.length]?.(response)
    await sees('all wrong answers', () => scene.requests.length > wrong.length)
    expect(scene.memory.remainingMs()).toBe(0)
    expect([scene.renewals, scene.refusals, scene.ends]).toEqual([[], 0, []])
    scene.answer = json(200, RENEWED)
    await sees('a renewal', () => scene.renewals.length > 0)
    expect(scene.memory.remainingMs()).toBeGreaterThan(0)
  })

  test('T9, G3: gets no deadline to change a target by in a phase before the swap', async () => {
    await using scene = await openScene('proving')
    await sees('two renewals', () => scene.renewals.length >= 2)
    expect(scene.memory.remainingMs()).toBe(0)
  })

  test('tells a cancel, and leaves a refusal to the main thread', async () => {
    await using scene = await openScene()
    scene.answer = json(200, { ...RENEWED, cancel: true })
    await sees('the cancel', () => scene.renewals[0]?.cancel === true)
    expect(scene.memory.remainingMs()).toBe(0)
    scene.answer = json(409, { type: 'about:blank', title: 'no', status: 409, code: 'stale-epoch' })
    await sees('the refusal', () => scene.refusals > 0)
    expect(scene.ends).toEqual([])
  })

  test('that cannot start is told of once, and nothing waits for it', async () => {
    await using scene = await openScene('loading', async () => await Promise.reject(new Error('no key')))
    await sees('its end', () => scene.ends.length > 0)
    expect(scene.ends.map(({ code }) => code)).toEqual(['internal'])
  })

  test('that dies is told of once', async () => {
    // Of a key that cannot sign, and a URL that is none.
    const { publicKey } = await generateKeyPair('EdDSA', { crv: 'Ed25519' })
    const caller = async () => await Promise.resolve({ url: 'none', agent: 'vps1', key: publicKey, version: '1' })
    await using scene = await openScene('loading', caller)
    await sees('its end', () => scene.ends.length > 0)
    await sleep(200)
    expect(scene.ends.map(({ code }) => code)).toEqual(['internal'])
  })

  test('sends nothing after its end', async () => {
    const scene = await openScene()
    await sees('a renewal', () => scene.requests.length > 0)
    await scene[Symbol.asyncDispose]()
    const { length } = scene.requests
    await sleep(1500)
    expect(scene.requests).toHaveLength(length)
    expect(scene.ends).toEqual([])
  })
})
