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
  /** Resolves when a client has sent what matches; one message at a time, once. A new call takes the place of the last. */
  stopAt(message: Message, where: 'before' | 'after'): Promise<Caught>
  /** Stops nothing any more that was not stopped yet. */
  letPass(): void
  /** Answers what matches in the server's place, with these bytes, and hangs up; undefined ends that. */
  answer(message: Message, bytes: string | undefined): void
  /** Resets every connection. */
  cutAll(): void
}

/** Of the bytes as latin1, as they come: a message longer than 64 KiB comes in pieces. */
export type Message = RegExp | ((bytes: string) => boolean)

export interface Caught {
  /** Resolves when the server's answer waits here, or flows. */
  answered: Promise<void>
  /** What waits flows on. */
  release(): void
  /** Ends the connection in both directions; what the server has got already it still reads. */
  cut(): void
}

interface Watch {
  message: Message
  where: 'before' | 'after'
  resolve: (caught: Caught) => void
}

export async function openGate(target: URL): Promise<Gate> {
  let watch: Watch | undefined
  let answering: { message: Message; bytes: string } | undefined
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
    let isAnswered = false
    client.on('data', (bytes: Buffer) => {
      const text = watch || answering ? bytes.toString('latin1') : ''
      if (isAnswered) return
      if (answering && matches(answering.message, text)) {
        isAnswered = true
        client.end(answering.bytes, () => server.destroy())
        return
      }
      const caught = watch && matches(watch.message, text) ? watch : undefined
      if (!caught) return toServer.write(bytes)
      watch = undefined
      const held = caught.where === 'before' ? toServer : toClient
      if (caught.where === 'after') toServer.write(bytes)
      held.hold()
      if (caught.where === 'before') toServer.write(bytes)
      const answered = once(server, 'data').then(() => undefined)
      answered.catch(() => undefined)
      caught.resolve({
        answered,
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
    letPass: () => {
      watch = undefined
    },
    answer: (message, bytes) => {
      answering = bytes === undefined ? undefined : { message, bytes }
    },
    cutAll,
    [Symbol.asyncDispose]: async () => {
      listener.close()
      cutAll()
      await Promise.resolve()
    },
  }
}

function matches(message: Message, text: string): boolean {
  return typeof message === 'function' ? message(text) : message.test(text)
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
