/** A small stream of choices from one seed: the same seed, the same choices. */
export interface Pick {
  /** 0 to `below` - 1. */
  number: (below: number) => number
  yes: () => boolean
  /** Undefined of an empty list. */
  of: <T>(list: readonly T[]) => T | undefined
  /** One of what is never an empty list. */
  one: <T>(first: T, ...others: T[]) => T
}

/** Park and Miller's generator: small, and good enough to choose. */
const MULTIPLIER = 48_271
const MODULUS = 0x7fff_ffff

export function pickFrom(seed: number): Pick {
  let state = (seed % (MODULUS - 1)) + 1
  const number = (below: number): number => {
    state = (state * MULTIPLIER) % MODULUS
    return Math.floor((state / MODULUS) * below)
  }
  return {
    number,
    yes: () => number(2) === 1,
    of: (list) => list[number(list.length)],
    one: (first, ...others) => others[number(others.length + 1) - 1] ?? first,
  }
}
