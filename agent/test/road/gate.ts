import { once } from 'node:events'
import { connect, createServer, type Socket } from 'node:net'

/*
 * A TCP proxy on loopback that stops at a message: what the client says is looked at, and where it matches, the message
 * waits (`before`), or passes and its answer waits (`after`). So a process can be ended, frozen or cut off at a point that
 * lies inside the product, without a hook in it.
 */
export interface Gate extends AsyncDisposable {
  /** The same URL, through the gate. */
  url(direct: string): string
  /** Resolves when a client has sent what matches; one message at a time, once. */
  stopAt(message: RegExp, where: 'before' | 'after'): Promise<Caught>
  /** Resets every connection. */
  cutAll(): void
}

export interface Caught {
  /** What waits flows on. */
  release(): void
  /** Ends the connection in both directions; what the server has got already it still reads. */
  cut(): void
}

interface Watch {
  message: RegExp
  where: 'before' | 'after'
  resolve: (caught: Caught) => void
}

export async function openGate(target: URL): Promise<Gate> {
  let watch: Watch | undefined
  const sockets = new Set<Socket>()
  const accept = (client: Socket): void => {
    const server = connect({ host: target.hostname, port: Number(target.port), noDelay: true })
    const toServer = holdable(server)
    const toClient = holdable(client)
    for (const socket of [client, server]) {
      sockets.add(socket)
      socket.on('error', () => undefined)
      socket.on('close', () => {
        sockets.delete(socket)
        const other = socket === client ? server : client
        // What is on its way to the server still arrives there, as it would over a network.
        if (other === server) server.end()
        else client.destroy()
      })
    }
    client.on('data', (bytes: Buffer) => {
      const caught = watch?.message.test(bytes.toString('latin1')) ? watch : undefined
      if (!caught) return toServer.write(bytes)
      watch = undefined
      const held = caught.where === 'before' ? toServer : toClient
      if (caught.where === 'after') toServer.write(bytes)
      held.hold()
      if (caught.where === 'before') toServer.write(bytes)
      caught.resolve({
        release: held.release,
        cut: () => {
          server.end()
          client.destroy()
        },
      })
    })
    server.on('data', (bytes: Buffer) => toClient.write(bytes))
  }
  const listener = createServer({ noDelay: true }, accept).listen(0, '127.0.0.1')
  await once(listener, 'listening')
  const address = listener.address()
  if (address === null || typeof address === 'string') throw new Error('a TCP server has no port')
  const { port } = address
  const cutAll = (): void => sockets.forEach((socket) => socket.resetAndDestroy())
  return {
    url: (direct) => {
      const url = new URL(direct)
      url.host = `127.0.0.1:${port}`
      return url.href.replace(/\/$/, '')
    },
    stopAt: async (message, where) =>
      await new Promise((resolve) => {
        watch = { message, where, resolve }
      }),
    cutAll,
    [Symbol.asyncDispose]: async () => {
      listener.close()
      cutAll()
      await Promise.resolve()
    },
  }
}

/** Bytes for a socket that can be kept back. A test's bytes fit into memory; a sender that is ahead is not slowed down. */
function holdable(socket: Socket) {
  let waiting: Buffer[] | undefined
  return {
    write: (bytes: Buffer): void => {
      if (waiting) waiting.push(bytes)
      else if (!socket.destroyed && socket.writable) socket.write(bytes)
    },
    hold: (): void => {
      waiting = []
    },
    release: (): void => {
      const bytes = waiting ?? []
      waiting = undefined
      for (const one of bytes) if (socket.writable) socket.write(one)
    },
  }
}
