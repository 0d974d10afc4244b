import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { generateKeyPair, type CryptoKey } from 'jose'
import type { AgentEvent } from '@multiboard-sync/shared/event'
import { completeRequestSchema, reportRequestSchema, type JobResult } from '@multiboard-sync/shared/protocol'
import { verifyRequest } from '@multiboard-sync/shared/signed-request'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { connectControlPlane } from '../src/poll/control-plane-client.ts'
import { openOutbox } from '../src/report/outbox.ts'
import { createReporter } from '../src/report/reporter.ts'
import { startUpload, type UploadHandle } from '../src/report/upload.ts'

/** The reporting of one job over real HTTP and a real disk, against a control plane that comes and goes. */

const JOB = 'j4k7q2m9xw1ab'
const result: JobResult = {
  outcome: 'succeeded',
  target_state: 'changed',
  tables: 1,
  rows: 1,
  bytes: 1,
  seconds: 1,
  peak_rss_mb: 1,
}

interface TestPlane extends AsyncDisposable {
  url: string
  port: number
}

let stateDir: string
let keys: { privateKey: CryptoKey; publicKey: CryptoKey }
/** What the control plane has stored; survives its restarts, as its database would. */
let stored: AgentEvent[]
/** Returns true when it has dealt with the request in its own, wrong way. */
let misbehave: (response: ServerResponse) => boolean

beforeEach(async () => {
  stateDir = await mkdtemp(join(tmpdir(), 'outage-'))
  keys = await generateKeyPair('EdDSA', { crv: 'Ed25519' })
  stored = []
  misbehave = () => false
})

afterEach(async () => await rm(stateDir, { recursive: true }))

async function startPlane(port = 0): Promise<TestPlane> {
  const server = createServer((request, response) => {
    handle(request, response).catch(() => response.destroy())
  })
  server.listen(port, '127.0.0.1')
  await once(server, 'listening')
  const address = server.address()
  if (address === null || typeof address === 'string') throw new Error('no port')
  return {
    url: `http://127.0.0.1:${address.port}`,
    port: address.port,
    [Symbol.asyncDispose]: async () => {
      server.closeAllConnections()
      server.close()
      await once(server, 'close')
    },
  }
}

async function handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
  const chunks: Buffer[] = []
  for await (const chunk of request) chunks.push(chunk)
  const body = Buffer.concat(chunks).toString('utf8')
  const path = request.url ?? ''
  const facts = { method: 'POST', path, body, origin: `http://${request.headers.host}` }
  await verifyRequest(request.headers.authorization, facts, 'vps1', keys.publicKey)
  if (misbehave(response)) return
  if (path.endsWith('/report')) {
    for (const event of reportRequestSchema.parse(JSON.parse(body)).events) {
      if (event.aseq > stored.length + 1) {
        const problem = { type: 'about:blank', title: 'gap', status: 416, code: 'event-gap', ack_aseq: stored.length }
        response.writeHead(416, { 'content-type': 'application/problem+json' }).end(JSON.stringify(problem))
        return
      }
      if (event.aseq === stored.length + 1) stored.push(event)
    }
    answer(response, 200, { lease_ms: 90_000, cancel: false, ack_aseq: stored.length, next_batch_ms: 50 })
  } else {
    const { last_aseq } = completeRequestSchema.parse(JSON.parse(body))
    const isDone = stored.length >= last_aseq
    answer(response, isDone ? 200 : 202, { state: isDone ? 'succeeded' : 'running', ack_aseq: stored.length })
  }
}

function answer(response: ServerResponse, status: number, body: object): void {
  response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body))
}

function startReporting(url: string): UploadHandle {
  return startUpload({
    controlPlane: connectControlPlane({ url, agent: 'vps1', key: keys.privateKey, version: '1', timeoutMs: 2000 }),
    job: JOB,
    epoch: 1,
    outbox: openOutbox({ stateDir, job: JOB, epoch: 1 }),
    signal: new AbortController().signal,
    onCancel: () => undefined,
    onLost: (error) => expect.unreachable(`the job was lost: ${error.code}`),
    random: () => 0,
  })
}

async function report(upload: UploadHandle, from: number, to: number): Promise<void> {
  const reporter = createReporter([upload.sink])
  for (let n = from; n < to; n += 1) {
    reporter.event('export.table-done', { n })
    await sleep(2)
  }
}

const numbers = (): unknown[] => stored.map(({ aseq, data }) => [aseq, data['n']])
const counted = (count: number): unknown[] => Array.from({ length: count }, (_, n) => [n + 1, n])
const deadline = (): AbortSignal => AbortSignal.timeout(30_000)

it('a control plane that stops and starts again gets every event once, in order', async () => {
  const first = await startPlane()
  await using upload = startReporting(first.url)
  await report(upload, 0, 200)
  await first[Symbol.asyncDispose]()
  await report(upload, 200, 700)
  expect(stored.length).toBeLessThan(300)
  await using _second = await startPlane(first.port)
  await expect(upload.complete(result, deadline())).resolves.toBe('succeeded')
  expect(numbers()).toEqual(counted(700))
})

it('G18: pages of proxies, cut answers and garbage do not end a job and lose nothing', async () => {
  const html = (status: number) => (response: ServerResponse) =>
    void response.writeHead(status, { 'content-type': 'text/html' }).end('<html>Authentication required</html>')
  const faults: ((response: ServerResponse) => void)[] = [
    html(200),
    html(401),
    (response) => void response.socket?.destroy(),
    html(403),
    (response) => void response.writeHead(200, { 'content-type': 'application/json' }).end('{"lease_ms":'),
    html(503),
  ]
  let requests = 0
  misbehave = (response) => {
    requests += 1
    const fault = requests % 3 === 0 ? faults.shift() : undefined
    fault?.(response)
    return fault !== undefined
  }
  await using plane = await startPlane()
  await using upload = startReporting(plane.url)
  for (let n = 0; faults.length > 0; n += 20) {
    expect(n, 'all faults happen in time').toBeLessThan(5000)
    await report(upload, n, n + 20)
  }
  await expect(upload.complete(result, deadline())).resolves.toBe('succeeded')
  expect(numbers()).toEqual(counted(stored.length))
})

it('a killed agent delivers at its next boot what it had said', async () => {
  await using plane = await startPlane()
  misbehave = (response) => {
    // Stored, but the answer never arrives: the agent dies without knowing.
    if (stored.length > 50) response.destroy()
    return stored.length > 50
  }
  const dying = startReporting(plane.url)
  await report(dying, 0, 150)
  await dying[Symbol.asyncDispose]()
  misbehave = () => false
  await using upload = startReporting(plane.url)
  await report(upload, 150, 160)
  await expect(upload.complete(result, deadline())).resolves.toBe('succeeded')
  expect(numbers()).toEqual(counted(160))
})
