import { once } from 'node:events'
import { createServer, type AddressInfo, type Socket } from 'node:net'
import { expect, test } from 'vitest'
import { borrow, openSocket, own } from './open-socket.ts'

test('Bytes belong to whoever listens, unless they are borrowed; then they are good until it returns', async () => {
  const server = createServer()
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const accepted = once(server, 'connection') as Promise<[Socket]>
  const socket = openSocket()
  const kept: Buffer[] = []
  const seen: string[] = []
  socket.on('data', (bytes: Buffer) => {
    kept.push(bytes)
    seen.push(bytes.toString())
  })
  socket.connect((server.address() as AddressInfo).port, '127.0.0.1')
  const [peer] = await accepted
  const say = async (text: string): Promise<void> => {
    const come = once(socket, 'data')
    peer.write(text)
    await come
  }
  try {
    await say('first')
    await say('again')
    expect(kept.map(String)).toEqual(['first', 'again'])
    borrow(socket)
    await say('third')
    await say('fourth')
    expect(new Set(kept.slice(2).map((bytes) => bytes.buffer)).size).toBe(1)
    own(socket)
    await say('fifth')
    expect(kept.at(-1)?.buffer).not.toBe(kept.at(-2)?.buffer)
    expect(seen).toEqual(['first', 'again', 'third', 'fourth', 'fifth'])

    // Who does not want more gets no more, until it does.
    socket.pause()
    peer.write('sixth')
    await new Promise((resolve) => setTimeout(resolve, 50))
    expect(seen).toHaveLength(5)
    const come = once(socket, 'data')
    socket.resume()
    await come
    const closed = once(socket, 'close')
    peer.end()
    await closed
    expect(seen.at(-1)).toBe('sixth')
  } finally {
    socket.destroy()
    peer.destroy()
    server.close()
  }
})
