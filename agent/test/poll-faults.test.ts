import { createServer, type Server } from 'node:net'
import { once } from 'node:events'
import { generateKeyPair } from 'jose'
import { policySchema, policySha256 } from '@multiboard-sync/shared/policy'
import { viewPolicy } from '@multiboard-sync/shared/policy-view'
import { afterEach, expect, it } from 'vitest'
import { connectControlPlane } from '../src/poll/control-plane-client.ts'

/** Real sockets, for what a mock of fetch cannot do: what the network and broken proxies do to bytes. */

let server: Server | undefined

afterEach(() => {
  server?.close()
  server = undefined
})

const JSON_BODY = '{"poll_after_ms":1000,"cancel":[]}'
const HEAD = 'HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n'

async function pollAgainst(say: (write: (text: string) => void, cut: () => void) => void): Promise<unknown> {
  server = createServer((socket) => {
    socket.on('error', () => socket.destroy())
    socket.once('data', () =>
      say(
        (text) => void (socket.destroyed || socket.write(text)),
        () => socket.destroy(),
      ),
    )
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const address = server.address()
  if (address === null || typeof address === 'string') throw new Error('no port')
  return await pollAt(address.port)
}

async function pollAt(port: number): Promise<unknown> {
  const { privateKey } = await generateKeyPair('EdDSA', { crv: 'Ed25519' })
  const url = `http://127.0.0.1:${port}`
  const plane = connectControlPlane({ url, agent: 'vps1', key: privateKey, version: '1', timeoutMs: 1000 })
  const policy = policySchema.parse({ databases: {} })
  const names = { version: '1', boot_id: 'b', policy_sha256: policySha256(policy), trusted_kids: [] }
  return await plane.poll(
    { ...names, policy: viewPolicy(policy), databases: [], running: [] },
    new AbortController().signal,
  )
}

it('an answer that arrives whole is taken', async () => {
  const answer = await pollAgainst((write) => write(`${HEAD}content-length: ${JSON_BODY.length}\r\n\r\n${JSON_BODY}`))
  expect(answer).toMatchObject({ reply: { poll_after_ms: 1000 } })
})

it.each<[string, (write: (text: string) => void, cut: () => void) => void]>([
  ['a connection cut before the answer', (_write, cut) => cut()],
  [
    'a connection cut in the middle of the body',
    (write, cut) => {
      write(`${HEAD}content-length: 34\r\n\r\n{"poll_after`)
      setTimeout(cut, 50)
    },
  ],
  [
    'a chunked body that never ends properly',
    (write, cut) => {
      write(`${HEAD}transfer-encoding: chunked\r\n\r\n22\r\n${JSON_BODY}`)
      setTimeout(cut, 50)
    },
  ],
  ['something that is not HTTP', (write) => write('220 mail.example.com ESMTP ready\r\n')],
  ['headers and then silence', (write) => write(`${HEAD}content-length: 34\r\n\r\n{`)],
  [
    'a body that drips for ever',
    (write) => {
      write(`${HEAD}transfer-encoding: chunked\r\n\r\n`)
      const drip = setInterval(() => write('1\r\n \r\n'), 20)
      setTimeout(() => clearInterval(drip), 3000).unref()
    },
  ],
  ['silence', () => undefined],
])('G18: %s is an unreachable control plane', async (_what, say) => {
  await expect(pollAgainst(say)).rejects.toMatchObject({ code: 'control-plane-unreachable', retryable: true })
})

it('G18: a port where nobody listens is an unreachable control plane', async () => {
  const probe = createServer().listen(0, '127.0.0.1')
  await once(probe, 'listening')
  const address = probe.address()
  if (address === null || typeof address === 'string') throw new Error('no port')
  probe.close()
  await once(probe, 'close')
  await expect(pollAt(address.port)).rejects.toMatchObject({ code: 'control-plane-unreachable', retryable: true })
})
