import { once } from 'node:events'
import { connect, createServer, type Server, type Socket } from 'node:net'
import { Transform } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { setTimeout as sleep } from 'node:timers/promises'

/*
 * A TCP proxy on loopback that does to a connection what networks do: cut it, cut it after so many bytes, let it hang,
 * refuse it, make it slow, or change what the server says. It knows nothing of the protocol that runs through it.
 */

export type Direction = 'toServer' | 'toClient'

export interface ChaosProxyOptions {
  target: { host: string; port: number }
  /** One way; a round trip takes twice as long. Bandwidth is not limited. */
  latencyMs?: number
  /** Sees every byte as it arrives, before anything happens to it. */
  tap?: (bytes: Buffer, direction: Direction) => void
}

export interface ChaosProxy extends AsyncDisposable {
  readonly host: '127.0.0.1'
  readonly port: number
  /** Bytes delivered so far, over all connections. */
  readonly bytes: Readonly<Record<Direction, number>>
  /** How many connections are open now. */
  readonly open: number
  /** The same URL, through the proxy. */
  url(direct: string): string
  /** Resets every open connection; new ones work. */
  cutAll(): void
  /** Delivers exactly n more bytes, counted over all connections, then resets them all, once. Default: both directions. */
  cutAfterBytes(n: number, direction?: Direction): void
  /** Connections stay open and can be opened, but nothing flows, until resume(). */
  blackhole(): void
  /** New connections are refused (ECONNREFUSED) until resume(); open ones go on. */
  refuse(): void
  /** Ends blackhole() and refuse(), and lets a cut that has not happened yet not happen. */
  resume(): Promise<void>
  /** Changes what the server says; undefined ends that. A message may come in several pieces: `offset` is this one's place. */
  rewrite(change: Rewrite | undefined): void
}

export type Rewrite = (bytes: Buffer, place: { connection: number; offset: number }) => Buffer

interface Stamped {
  bytes: Buffer
  dueAt: number
}

/** Enough pieces of 64 KiB under way that latency does not become a limit of bandwidth. */
const piecesUnderWay = 256

export async function startChaosProxy({ target, latencyMs = 0, tap }: ChaosProxyOptions): Promise<ChaosProxy> {
  const pairs = new Set<readonly [Socket, Socket]>()
  const bytes = { toServer: 0, toClient: 0 }
  let budget: { left: number; direction: Direction | undefined } | undefined
  let change: Rewrite | undefined
  let gate = Promise.withResolvers<void>()
  let connections = 0
  gate.resolve()

  const cutAll = () => {
    for (const pair of pairs) for (const socket of pair) socket.resetAndDestroy()
  }

  /** How many of these bytes may still be delivered. */
  const allowed = (length: number, direction: Direction): number => {
    if (budget === undefined || (budget.direction ?? direction) !== direction) return length
    const granted = Math.min(length, budget.left)
    budget.left -= granted
    return granted
  }

  async function* deliver(source: AsyncIterable<Stamped>, direction: Direction, connection: number) {
    let offset = 0
    for await (const { bytes: arrived, dueAt } of source) {
      tap?.(arrived, direction)
      const earlyMs = dueAt - performance.now()
      if (earlyMs > 0) await sleep(earlyMs)
      await gate.promise
      const changed = direction === 'toClient' && change ? change(arrived, { connection, offset }) : arrived
      offset += arrived.length
      const granted = changed.subarray(0, allowed(changed.length, direction))
      bytes[direction] += granted.length
      if (granted.length > 0) yield granted
      if (budget?.left === 0) {
        budget = undefined
        cutAll()
      }
    }
  }

  const join = async (from: Socket, to: Socket, direction: Direction, connection: number) => {
    const stamp = new Transform({
      readableObjectMode: true,
      readableHighWaterMark: piecesUnderWay,
      transform: (piece: Buffer, _, done) => done(null, { bytes: piece, dueAt: performance.now() + latencyMs }),
    })
    await pipeline(from, stamp, (source: AsyncIterable<Stamped>) => deliver(source, direction, connection), to)
  }

  const accept = (client: Socket) => {
    const server = connect({ ...target, allowHalfOpen: true, noDelay: true })
    const pair = [client, server] as const
    pairs.add(pair)
    connections += 1
    const both = [join(client, server, 'toServer', connections), join(server, client, 'toClient', connections)]
    // Whatever ended one way (a reset, a refusal by the target) ends the other; the two ends see it, nobody else must.
    for (const way of both) way.catch(() => pair.forEach((socket) => socket.destroy()))
    void Promise.allSettled(both).then(() => {
      pair.forEach((socket) => socket.destroy())
      pairs.delete(pair)
    })
  }

  const listen = async (port: number): Promise<Server> => {
    const server = createServer({ allowHalfOpen: true, noDelay: true }, accept).listen(port, '127.0.0.1')
    await once(server, 'listening')
    return server
  }

  let listening = await listen(0)
  const address = listening.address()
  if (address === null || typeof address === 'string') throw new Error('a TCP server has no port')
  const { port } = address

  return {
    host: '127.0.0.1',
    port,
    bytes,
    get open() {
      return pairs.size
    },
    url: (direct) => {
      const url = new URL(direct)
      url.host = `127.0.0.1:${port}`
      return url.href
    },
    cutAll,
    cutAfterBytes: (n, direction) => {
      budget = { left: n, direction }
      if (n === 0) cutAll()
    },
    blackhole: () => {
      gate.resolve()
      gate = Promise.withResolvers()
    },
    refuse: () => void listening.close(),
    resume: async () => {
      gate.resolve()
      budget = undefined
      if (!listening.listening) listening = await listen(port)
    },
    rewrite: (next) => {
      change = next
    },
    [Symbol.asyncDispose]: async () => {
      gate.resolve()
      listening.close()
      cutAll()
      await Promise.resolve()
    },
  }
}
