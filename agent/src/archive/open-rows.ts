import { createHash } from 'node:crypto'
import { PassThrough, Readable, Transform } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import type { Part } from '@multiboard-sync/shared/manifest'
import { SyncError } from '@multiboard-sync/shared/sync-error'
import { ZLIB_CHUNK_BYTES, codecOf, isBroken } from './codec.ts'
import { TRAILER, countRows } from './frame-rows.ts'

/** What the manifest says of a stored object. */
export interface StoredFacts {
  key: string
  compressed_bytes: number
  sha256: string
}

export function damaged(key: string, why: string, cause?: unknown): SyncError {
  return new SyncError('archive-damaged', `The archive's object ${key} is damaged: ${why}.`, {
    hint: 'Do not use this archive. Restore an older one, or copy the object anew from a replica of the bucket.',
    cause,
  })
}

/**
 * The object's uncompressed bytes. It ends only after size and SHA-256 of the stored bytes and the checksum of gzip or
 * zstd have been found right, and nothing follows what was unpacked. Gives at most `maxBytes` (then fails). Throws SyncError archive-damaged.
 */
export async function* unpack(
  source: Readable,
  stored: StoredFacts,
  maxBytes: number,
  signal: AbortSignal,
): AsyncGenerator<Buffer> {
  const seal = sealCheck(stored)
  // RESTORE.txt is the one object that is stored as it is.
  const codec = codecOf(stored.key)
  const unpacker = codec?.createUnpacker()
  const unpacked = unpacker ?? new PassThrough()
  const feeding = pipeline(source, seal.stream, unpacked, { signal })
  // While rows are read, its error comes out of there.
  feeding.catch(() => undefined)
  let bytes = 0
  try {
    for await (const chunk of unpacked) {
      bytes += chunk.length
      if (bytes > maxBytes) throw damaged(stored.key, 'it unpacks to more than the manifest says')
      yield chunk
    }
  } catch (error) {
    unpacked.destroy()
    signal.throwIfAborted()
    throw isBroken(error) ? damaged(stored.key, `it is not a whole ${codec?.name} file`, error) : error
  }
  // An unpacker ends early when something follows: then the seal has not seen the end, or not all was taken.
  if (!seal.isRight() || (unpacker && unpacker.bytesWritten !== stored.compressed_bytes)) {
    unpacked.destroy()
    source.destroy()
    throw damaged(stored.key, `something follows its ${codec?.name} data`)
  }
  await feeding
}

function sealCheck(stored: StoredFacts): { stream: Transform; isRight(): boolean } {
  const hash = createHash('sha256')
  let bytes = 0
  let right = false
  const stream = new Transform({
    transform(chunk: Buffer, _encoding, callback) {
      bytes += chunk.length
      if (bytes > stored.compressed_bytes) return callback(damaged(stored.key, 'it is longer than the manifest says'))
      hash.update(chunk)
      callback(null, chunk)
    },
    flush(callback) {
      if (bytes !== stored.compressed_bytes)
        return callback(damaged(stored.key, 'it is shorter than the manifest says'))
      if (hash.digest('hex') !== stored.sha256)
        return callback(damaged(stored.key, 'its SHA-256 differs from the manifest'))
      right = true
      callback()
    },
  })
  return { stream, isRight: () => right }
}

/**
 * The rows of a part as raw COPY text. The stream ends only when everything the manifest says of the part has been found
 * true; otherwise it is destroyed with SyncError archive-damaged, so that a COPY fed from it fails as well.
 * `onBytes` is given increments.
 */
export function openRows(
  source: Readable,
  part: Part,
  signal: AbortSignal,
  onBytes?: (rawBytes: number, rows: number) => void,
): Readable {
  const closed = new AbortController()
  const stop = AbortSignal.any([signal, closed.signal])
  const rowsEnd = part.header_bytes + part.bytes
  const end = rowsEnd + TRAILER.length

  async function* read(): AsyncGenerator<Buffer> {
    let offset = 0
    let rows = 0
    const trailer: Buffer[] = []
    for await (const chunk of unpack(source, part, end, stop)) {
      const from = Math.max(0, part.header_bytes - offset)
      const to = Math.max(0, rowsEnd - offset)
      offset += chunk.length
      if (to < chunk.length) trailer.push(chunk.subarray(to))
      const slice = chunk.subarray(from, to)
      if (slice.length === 0) continue
      const inSlice = countRows(slice)
      rows += inSlice
      if (rows > part.rows) throw damaged(part.key, 'it holds more rows than the manifest says')
      yield slice
      onBytes?.(slice.length, inSlice)
    }
    if (offset !== end) throw damaged(part.key, 'it unpacks to less than the manifest says')
    if (!Buffer.concat(trailer).equals(TRAILER)) throw damaged(part.key, 'its rows do not end where they should')
    if (rows !== part.rows) throw damaged(part.key, `it holds ${rows} rows, the manifest says ${part.rows}`)
  }

  const stream = Readable.from(read(), { objectMode: false, highWaterMark: ZLIB_CHUNK_BYTES })
  // A generator that waits for bytes cannot be told to end; what it waits for can.
  stream.once('close', () => {
    closed.abort()
    source.destroy()
  })
  return stream
}
