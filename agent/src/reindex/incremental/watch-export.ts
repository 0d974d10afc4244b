import { Transform } from 'node:stream'

/**
 * An export comes in pieces of 64 kB that lie outside of V8's heap. V8 counts the small objects in front of them and sees
 * no reason to collect before a hundred megabytes of pieces lie there; so often it is asked to. Not for imports: a batch
 * that is being sent would be taken for a long-lived one, and kept.
 */
const COLLECT_EVERY_BYTES = 8 * 1024 * 1024
const LINE_FEED = 10

/** Passes an export on as it is, and tells after each piece how many documents have come, one a line. */
export function watchExport(onDocuments: (documents: number) => void): Transform {
  let documents = 0
  let uncollected = 0
  return new Transform({
    transform(chunk: Buffer, _encoding, callback) {
      for (let at = chunk.indexOf(LINE_FEED); at !== -1; at = chunk.indexOf(LINE_FEED, at + 1)) documents += 1
      onDocuments(documents)
      uncollected += chunk.length
      if (uncollected >= COLLECT_EVERY_BYTES) {
        uncollected = 0
        // There where the process was started with --expose-gc, as `pnpm agent` starts it.
        globalThis.gc?.({ type: 'minor' })
      }
      callback(null, chunk)
    },
  })
}
