import { createHash } from 'node:crypto'

/** A stream of numbers that a seed decides. Each part of a history has its own, so that one does not shift another. */
export interface Random {
  /** From 0 to 1, without 1. */
  next: () => number
  chance(probability: number): boolean
  /** From `low` to `high`, without `high`. */
  between(low: number, high: number): number
  integer(low: number, high: number): number
  pick<Item>(items: readonly Item[]): Item
  /** Another stream, decided by this one's seed and the name alone. */
  fork(name: string): Random
}

/** mulberry32: small, fast, and good enough to choose what goes wrong. */
export function createRandom(seed: string): Random {
  let state = createHash('sha256').update(seed).digest().readUInt32LE(0)
  const next = (): number => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
  const between = (low: number, high: number): number => low + next() * (high - low)
  return {
    next,
    between,
    chance: (probability) => next() < probability,
    integer: (low, high) => Math.floor(between(low, high + 1)),
    pick: (items) => {
      const item = items[Math.floor(next() * items.length)]
      if (item === undefined) throw new Error('nothing to pick from')
      return item
    },
    fork: (name) => createRandom(`${seed}/${name}`),
  }
}
