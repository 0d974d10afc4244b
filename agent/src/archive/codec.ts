import type { Transform, TransformOptions } from 'node:stream'
import { promisify } from 'node:util'
import * as zlib from 'node:zlib'
import type { Packing } from '@multiboard-sync/shared/policy'
import { SyncError } from '@multiboard-sync/shared/sync-error'

/** Larger chunks mean fewer trips to libuv's threads. */
export const ZLIB_CHUNK_BYTES = 256 * 1024
/** 8 MiB: levels up to 9 use half of it, and `zstd -dc` takes it without an option. What asks for more is not ours. */
const ZSTD_WINDOW_LOG_MAX = 23

/** How objects are packed; their names' last extension tells which it was. */
export interface Codec {
  name: Packing['compression']
  extension: string
  contentType: string
  /** What a person types to unpack to stdout. */
  command: string
  isHere: boolean
  /** Its buffer holds nothing: what is written to it is packed at once, and has been packed when it asks for more. */
  createPacker(level: number): Transform
  packWhole(bytes: Buffer, level: number): Promise<Buffer>
  /** Its errors are known by isBroken(). It may end before its input does, when something follows what it unpacked. */
  createUnpacker(): Transform & { readonly bytesWritten: number }
}

/** What users had before they could choose; a safe choice for readers of any age. */
export const defaultPacking: Packing = { compression: 'gzip', level: 1 }

const { constants } = zlib
// Up to level 6 costs four times the CPU for 15 % less; memLevel 9 and large chunks are free. Measured on COPY text.
const gzip: Codec = {
  name: 'gzip',
  extension: '.gz',
  contentType: 'application/gzip',
  command: 'gunzip',
  isHere: true,
  createPacker: (level) => {
    const options: zlib.ZlibOptions & TransformOptions = {
      level,
      memLevel: 9,
      chunkSize: ZLIB_CHUNK_BYTES,
      writableHighWaterMark: 1,
    }
    return zlib.createGzip(options)
  },
  packWhole: async (bytes, level) => await promisify<Buffer, zlib.ZlibOptions, Buffer>(zlib.gzip)(bytes, { level }),
  createUnpacker: () => zlib.createGunzip({ chunkSize: ZLIB_CHUNK_BYTES }),
}

const zstd: Codec = {
  name: 'zstd',
  extension: '.zst',
  contentType: 'application/zstd',
  command: 'zstd -dc',
  // From Node 22.15 and 23.8 on, where it was built with it.
  isHere: typeof zlib.createZstdCompress === 'function',
  createPacker: (level) => {
    const options: zlib.ZstdOptions & TransformOptions = {
      params: zstdParams(level),
      chunkSize: ZLIB_CHUNK_BYTES,
      // Told to end while its last chunk still waits, Node.js ends the frame twice and adds an empty one, which its own
      // reader does not take. So there is never one that waits.
      writableHighWaterMark: 1,
    }
    return zlib.createZstdCompress(options)
  },
  packWhole: async (bytes, level) =>
    await promisify<Buffer, zlib.ZstdOptions, Buffer>(zlib.zstdCompress)(bytes, { params: zstdParams(level) }),
  createUnpacker: () =>
    zlib.createZstdDecompress({
      chunkSize: ZLIB_CHUNK_BYTES,
      params: { [constants.ZSTD_d_windowLogMax]: ZSTD_WINDOW_LOG_MAX },
    }),
}

/** The checksum of the content is off by default, in Node and not in the command. */
function zstdParams(level: number): Record<number, number> {
  return { [constants.ZSTD_c_compressionLevel]: level, [constants.ZSTD_c_checksumFlag]: 1 }
}

const codecs = [gzip, zstd]

/** Throws SyncError `config-invalid` where this Node.js lacks it. */
export function codecFor({ compression }: Packing): Codec {
  return requireHere(compression === 'zstd' ? zstd : gzip)
}

/** By an object's name; undefined for one that is stored as it is. Throws SyncError `config-invalid` as codecFor() does. */
export function codecOf(key: string): Codec | undefined {
  const codec = codecs.find(({ extension }) => key.endsWith(extension))
  return codec && requireHere(codec)
}

/** `000-pre-data.sql` of `000-pre-data.sql.gz`. */
export function plainName(key: string): string {
  const codec = codecs.find(({ extension }) => key.endsWith(extension))
  return codec ? key.slice(0, -codec.extension.length) : key
}

/** True for what an unpacker says of bytes that are not right, or not all there. */
export function isBroken(error: unknown): boolean {
  return (
    error instanceof Error && 'code' in error && typeof error.code === 'string' && /^(Z_|ZSTD_error_)/.test(error.code)
  )
}

export function requireHere(codec: Codec): Codec {
  if (codec.isHere) return codec
  throw new SyncError('config-invalid', `This Node.js (${process.version}) cannot do ${codec.name}.`, {
    hint: 'Run the agent with Node.js 24. To write archives without it, set compression to gzip under archive in agent.yaml.',
  })
}
