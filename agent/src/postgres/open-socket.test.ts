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

test("Who reads by 'readable' gets every byte in its order, also those that come faster than it reads, and may go back", async () => {
  const server = createServer()
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const accepted = once(server, 'connection') as Promise<[Socket]>
  const socket = openSocket()
  const seen: Buffer[] = []
  const listen = (bytes: Buffer): void => void seen.push(bytes)
  const length = (): number => seen.reduce((sum, bytes) => sum + bytes.length, 0)
  const until = async (bytes: number): Promise<void> => {
    await expect.poll(length, { timeout: 5_000, interval: 5 }).toBe(bytes)
  }
  socket.on('data', listen)
  socket.connect((server.address() as AddressInfo).port, '127.0.0.1')
  const [peer] = await accepted
  try {
    peer.write('before')
    await until(6)

    // As pg-copy-streams does: it takes the listener's place, reads as much as is wanted of it, and gives the place back.
    socket.removeListener('data', listen)
    socket.pause()
    const much = Buffer.alloc(3_000_000, 'abcdefghijk')
    let isHeldBack = true
    const forward = (): void => {
      let bytes: Buffer | null
      while (!isHeldBack && (bytes = socket.read() as Buffer | null) !== null) seen.push(bytes)
    }
    socket.on('readable', forward)
    forward()
    peer.write(much)
    await new Promise((resolve) => setTimeout(resolve, 50))
    expect(length()).toBe(6)
    // What is not wanted yet stays with the server's side.
    expect(socket.readableLength).toBeLessThan(1_000_000)
    isHeldBack = false
    forward()
    await until(6 + much.length)
    socket.removeListener('readable', forward)
    socket.addListener('data', listen)
    process.nextTick(() => socket.resume())

    peer.write('after')
    await until(6 + much.length + 5)
    expect(Buffer.concat(seen).equals(Buffer.concat([Buffer.from('before'), much, Buffer.from('after')]))).toBe(true)
  } finally {
    socket.destroy()
    peer.destroy()
    server.close()
  }
})
