import type { Readable } from 'node:stream'

/** Below this a body is collected as it comes: most tables are small, and need no buffer of a whole part. */
const SMALL_BYTES = 256 * 1024

export interface CutPart {
  /** Of no use any more once given back. */
  bytes: Buffer
  isLast: boolean
  /** Lets the memory be used for a later part. */
  giveBack: () => void
}

/**
 * Cuts a stream of Buffers into parts of the sizes that `nextBytes` asks for; only the last may be smaller, and there is
 * always one. Holds the part in hand; a part that was given out is the taker's until it is given back. `free` is the memory
 * that was given back, and may be shared with others who cut at the same time.
 */
export async function* cutParts(
  body: Readable,
  nextBytes: (partsSent: number, bytesSent: number) => number,
  free: Buffer[] = [],
): AsyncGenerator<CutPart> {
  let [partsSent, bytesSent] = [0, 0]
  let wanted = nextBytes(0, 0)
  let small: Buffer[] = []
  let buffer: Buffer | undefined
  let filled = 0

  const take = (): Buffer => {
    const at = free.findIndex((one) => one.length >= wanted)
    const [found] = at < 0 ? [] : free.splice(at, 1)
    // What is too small now will not be used again: parts never shrink.
    if (!found) free.length = 0
    return found ?? Buffer.allocUnsafeSlow(wanted)
  }
  const put = (bytes: Buffer): void => {
    if (!buffer && filled + bytes.length <= Math.min(SMALL_BYTES, wanted)) small.push(bytes)
    else {
      if (!buffer) {
        buffer = take()
        let at = 0
        for (const one of small) at += one.copy(buffer, at)
        small = []
      }
      bytes.copy(buffer, filled)
    }
    filled += bytes.length
  }
  const part = (isLast: boolean): CutPart => {
    const whole = buffer
    const bytes = whole ? whole.subarray(0, filled) : Buffer.concat(small)
    partsSent += 1
    bytesSent += filled
    wanted = nextBytes(partsSent, bytesSent)
    ;[buffer, small, filled] = [undefined, [], 0]
    return { bytes, isLast, giveBack: () => void (whole && free.push(whole)) }
  }

  for await (const chunk of body as AsyncIterable<Buffer>) {
    let rest = chunk
    while (rest.length > 0) {
      // Only now it is known that this part is not the last.
      if (filled === wanted) yield part(false)
      const piece = rest.subarray(0, wanted - filled)
      put(piece)
      rest = rest.subarray(piece.length)
    }
  }
  yield part(true)
}
