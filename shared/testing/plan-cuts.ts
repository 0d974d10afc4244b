/** Which connections a bad line cuts, and after how many bytes: a function of the seed and the connection's number alone. */
export interface CutPlan {
  seed: number
  /** Of the connections, 0.01 is one in a hundred: cut once, anywhere within `withinBytes` of both directions. */
  share?: number
  withinBytes?: number
  /** Besides: no connection lives longer than so many bytes; each is cut between half of it and all of it. */
  everyBytes?: number
}

/** Of an index build's connection only a few kilobytes are ever seen; of a copy's, hundreds of megabytes. */
const defaultWithinBytes = 16 * 1024 * 1024

/** Bytes of both directions after which this connection (from 1) is cut; undefined when it is left alone. */
export function planCut(plan: CutPlan, connection: number): number | undefined {
  const random = randomOf(plan.seed * 7919 + connection)
  const [chosen, where, age] = [random(), random(), random()]
  const byAge = plan.everyBytes === undefined ? Infinity : Math.ceil(plan.everyBytes * (0.5 + age / 2))
  // Even over the orders of magnitude: a handshake is hit as often as the middle of a copy.
  const within = plan.withinBytes ?? defaultWithinBytes
  const byChance = chosen < (plan.share ?? 0) ? Math.ceil(Math.exp(where * Math.log(within))) : Infinity
  const cutAt = Math.min(byAge, byChance)
  return cutAt === Infinity ? undefined : cutAt
}

/** mulberry32: small, and the same everywhere. */
function randomOf(seed: number): () => number {
  let state = seed | 0
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
}
