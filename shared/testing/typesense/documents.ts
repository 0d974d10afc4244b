/*
 * The documents of one collection: an index in memory over slabs of bytes, in the order of insertion. A million documents take
 * their own bytes and about a hundred more each. Replaced and deleted ones leave holes, which are closed when they are the most.
 */

const SLAB_BYTES = 16 * 2 ** 20
/** Below this closing holes is not worth it. */
const LEAST_HOLES_BYTES = 4 * 2 ** 20

export interface Documents {
  readonly size: number
  has(id: string): boolean
  get(id: string): string | undefined
  /** Where it stands in the order of insertion, which a replacement keeps; 0 when it is not there. */
  sequence(id: string): number
  set(id: string, document: Buffer): void
  delete(id: string): boolean
  entries(): IteratorObject<[string, string], unknown>
  clear(): void
}

interface Slab {
  bytes: Buffer
  used: number
}
interface Place {
  sequence: number
  slab: Slab
  offset: number
  length: number
}

export function holdDocuments(): Documents {
  let slabs: Slab[] = []
  let holes = 0
  let held = 0
  let made = 0
  const places = new Map<string, Place>()

  const append = (document: Buffer, sequence: number): Place => {
    let slab = slabs.at(-1)
    if (!slab || slab.used + document.length > slab.bytes.length) {
      // The first ones are small: most collections of tests hold a handful.
      const bytes = Math.max(document.length, Math.min(SLAB_BYTES, Math.max(1024, held)))
      slab = { bytes: Buffer.allocUnsafeSlow(bytes), used: 0 }
      slabs.push(slab)
    }
    const place = { sequence, slab, offset: slab.used, length: document.length }
    document.copy(slab.bytes, slab.used)
    slab.used += document.length
    held += document.length
    return place
  }
  const read = ({ slab, offset, length }: Place) => slab.bytes.toString('utf8', offset, offset + length)
  const leaveHole = (place: Place) => {
    holes += place.length
    if (holes < LEAST_HOLES_BYTES || holes * 2 < held) return
    slabs = []
    holes = 0
    held = 0
    for (const [id, { sequence, slab, offset, length }] of places) {
      places.set(id, append(slab.bytes.subarray(offset, offset + length), sequence))
    }
  }

  return {
    get size() {
      return places.size
    },
    has: (id) => places.has(id),
    get: (id) => {
      const place = places.get(id)
      return place && read(place)
    },
    sequence: (id) => places.get(id)?.sequence ?? 0,
    set: (id, document) => {
      const replaced = places.get(id)
      places.set(id, append(document, replaced?.sequence ?? ++made))
      if (replaced) leaveHole(replaced)
    },
    delete: (id) => {
      const place = places.get(id)
      places.delete(id)
      if (place) leaveHole(place)
      return place !== undefined
    },
    *entries() {
      for (const [id, place] of places) yield [id, read(place)]
    },
    clear: () => {
      places.clear()
      slabs = []
      holes = 0
      held = 0
    },
  }
}

/** Holds nothing but their number. What is imported counts as new, whatever its id. */
export function countDocuments(): Documents & { add(documents: number): void } {
  let size = 0
  return {
    get size() {
      return size
    },
    has: () => false,
    get: () => undefined,
    sequence: () => 0,
    set: () => void (size += 1),
    delete: () => false,
    *entries() {
      // There is nothing to tell.
    },
    clear: () => void (size = 0),
    add: (documents) => void (size += documents),
  }
}
