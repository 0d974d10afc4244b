import { once } from 'node:events'
import { connect, createServer, type Server, type Socket } from 'node:net'
import { Transform } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { setTimeout as sleep } from 'node:timers/promises'
import { planCut, type CutPlan } from './plan-cuts.ts'

/*
 * A TCP proxy on loopback that does to a connection what networks do: cut it, cut it after so many bytes or by a seed, let
 * it hang, swallow what is sent, refuse it, make it slow, or change what the server says. It knows nothing of the protocol
 * that runs through it.
 */

export type Direction = 'toServer' | 'toClient'

export interface ChaosProxyOptions {
  target: { host: string; port: number }
  /** One way; a round trip takes twice as long, and so does opening a connection. Bandwidth is not limited. */
  latencyMs?: number | Readonly<Record<Direction, number>>
  /** From the first connection on; see `cuts`. */
  cuts?: CutPlan
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
  /** How many connections there were, and how many of them were cut by the plan. */
  readonly met: Readonly<{ connections: number; cut: number }>
  /** The same URL, through the proxy. */
  url(direct: string): string
  /** Resets every open connection; new ones work. */
  cutAll(): void
  /** Delivers exactly n more bytes, counted over all connections, then resets them all, once. Default: both directions. */
  cutAfterBytes(n: number, direction?: Direction): void
  /** Resets connections that are opened from now on by this plan; undefined ends that, also for open ones. */
  cuts(plan: CutPlan | undefined): void
  /**
   * Open connections become half-open: what either side sends is taken and never delivered, and nobody is told. New ones
   * work. With `isChosen` only the connections (from 1, in the order of their opening) that it names.
   */
  swallow(isChosen?: (connection: number) => boolean): void
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

/** One connection through the proxy. */
interface Line {
  number: number
  sockets: readonly [Socket, Socket]
  /** Bytes of both directions that may still be delivered before it is cut by the plan. */
  left: number
  isSwallowed: boolean
}

export async function startChaosProxy(options: ChaosProxyOptions): Promise<ChaosProxy> {
  const { target, latencyMs = 0, tap } = options
  const latency = typeof latencyMs === 'number' ? { toServer: latencyMs, toClient: latencyMs } : latencyMs
  const lines = new Set<Line>()
  const bytes = { toServer: 0, toClient: 0 }
  const met = { connections: 0, cut: 0 }
  let plan = options.cuts
  let budget: { left: number; direction: Direction | undefined } | undefined
  let change: Rewrite | undefined
  let gate = Promise.withResolvers<void>()
  gate.resolve()

  const cut = (line: Line) => line.sockets.forEach((socket) => socket.resetAndDestroy())
  const cutAll = () => lines.forEach(cut)

  /** How many of these bytes may still be delivered. */
  const allowed = (length: number, direction: Direction): number => {
    if (budget === undefined || (budget.direction ?? direction) !== direction) return length
    const granted = Math.min(length, budget.left)
    budget.left -= granted
    return granted
  }

  async function* deliver(source: AsyncIterable<Stamped>, direction: Direction, line: Line) {
    const connection = line.number
    let offset = 0
    for await (const { bytes: arrived, dueAt } of source) {
      tap?.(arrived, direction)
      const earlyMs = dueAt - performance.now()
      if (earlyMs > 0) await sleep(earlyMs)
      await gate.promise
      if (line.isSwallowed) continue
      const changed = direction === 'toClient' && change ? change(arrived, { connection, offset }) : arrived
      offset += arrived.length
      const granted = changed.subarray(0, Math.min(allowed(changed.length, direction), line.left))
      bytes[direction] += granted.length
      line.left -= granted.length
      if (granted.length > 0) yield granted
      if (line.left === 0) {
        met.cut += 1
        return cut(line)
      }
      if (budget?.left === 0) {
        budget = undefined
        cutAll()
      }
    }
    // The end of a half-open connection is not told to the other side either: it stays until the proxy ends.
    if (line.isSwallowed) await new Promise(() => undefined)
  }

  const join = async (from: Socket, to: Socket, direction: Direction, line: Line) => {
    // The client's first bytes could not have been sent before the connection stood.
    let extraMs = direction === 'toServer' ? latency.toServer + latency.toClient : 0
    const stamp = new Transform({
      readableObjectMode: true,
      readableHighWaterMark: piecesUnderWay,
      transform: (piece: Buffer, _, done) => {
        done(null, { bytes: piece, dueAt: performance.now() + latency[direction] + extraMs })
        extraMs = 0
      },
    })
    await pipeline(from, stamp, (source: AsyncIterable<Stamped>) => deliver(source, direction, line), to)
  }

  const accept = (client: Socket) => {
    const server = connect({ ...target, allowHalfOpen: true, noDelay: true })
    met.connections += 1
    const left = (plan && planCut(plan, met.connections)) ?? Infinity
    const line: Line = { number: met.connections, sockets: [client, server], left, isSwallowed: false }
    lines.add(line)
    const both = [join(client, server, 'toServer', line), join(server, client, 'toClient', line)]
    const end = () => line.sockets.forEach((socket) => socket.destroy())
    // Whatever ended one way (a reset, a refusal by the target) ends the other; the two ends see it, nobody else must.
    for (const way of both) way.catch(end)
    void Promise.allSettled(both).then(() => {
      end()
      lines.delete(line)
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
      return lines.size
    },
    met,
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
    cuts: (next) => {
      plan = next
      if (!next) for (const line of lines) line.left = Infinity
    },
    swallow: (isChosen = () => true) => {
      for (const line of lines) line.isSwallowed ||= isChosen(line.number)
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
