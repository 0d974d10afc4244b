import { createHash } from 'node:crypto'
import { crc32 } from 'node:zlib'
import { S3Fault } from './fault.ts'

export const CHECKSUM_ALGORITHMS = ['CRC32', 'CRC32C', 'CRC64NVME', 'SHA1', 'SHA256'] as const
export type ChecksumAlgorithm = (typeof CHECKSUM_ALGORITHMS)[number]
export type ChecksumType = 'FULL_OBJECT' | 'COMPOSITE'

/** A value as S3 shows it: base64, and `-<parts>` behind it when it is a checksum of the parts' checksums. */
export interface Checksum {
  algorithm: ChecksumAlgorithm
  value: string
  type: ChecksumType
}

export interface RunningChecksum {
  update(chunk: Buffer): void
  digest(): Buffer
}

const DIGEST_BYTES: Record<ChecksumAlgorithm, number> = { CRC32: 4, CRC32C: 4, CRC64NVME: 8, SHA1: 20, SHA256: 32 }

export function startChecksum(algorithm: ChecksumAlgorithm): RunningChecksum {
  if (algorithm === 'CRC32') return startCrc32()
  if (algorithm === 'CRC32C') return startCrc32c()
  if (algorithm === 'CRC64NVME') return startCrc64()
  const hash = createHash(algorithm)
  return { update: (chunk) => void hash.update(chunk), digest: () => hash.digest() }
}

export function checksumHeader(algorithm: ChecksumAlgorithm): string {
  return `x-amz-checksum-${algorithm.toLowerCase()}`
}

export function parseAlgorithm(text: string): ChecksumAlgorithm {
  const found = CHECKSUM_ALGORITHMS.find((algorithm) => algorithm === text.toUpperCase())
  if (!found) throw new S3Fault('InvalidRequest', 'Checksum algorithm provided is unsupported.')
  return found
}

/** The value itself when it has the form of the algorithm's digest; InvalidRequest otherwise. */
export function parseChecksumValue(algorithm: ChecksumAlgorithm, value: string): string {
  const bytes = Buffer.from(value, 'base64')
  if (bytes.length === DIGEST_BYTES[algorithm] && bytes.toString('base64') === value) return value
  throw new S3Fault('InvalidRequest', `Value for ${checksumHeader(algorithm)} header is invalid.`)
}

/** S3's checksum of a multipart object: the algorithm over the parts' raw digests, and how many there were. */
export function compositeChecksum(algorithm: ChecksumAlgorithm, partValues: string[]): Checksum {
  const running = startChecksum(algorithm)
  for (const value of partValues) running.update(Buffer.from(value, 'base64'))
  return { algorithm, type: 'COMPOSITE', value: `${running.digest().toString('base64')}-${partValues.length}` }
}

function startCrc32(): RunningChecksum {
  let crc = 0
  return {
    update(chunk) {
      crc = crc32(chunk, crc)
    },
    digest() {
      const out = Buffer.alloc(4)
      out.writeUInt32BE(crc)
      return out
    },
  }
}

// Castagnoli, reflected (RFC 3720 appendix B.4).
const CRC32C_POLYNOMIAL = 0x82f63b78
let crc32cTable: Uint32Array | undefined

function startCrc32c(): RunningChecksum {
  const table = (crc32cTable ??= Uint32Array.from({ length: 256 }, (_, byte) => {
    let value = byte
    for (let bit = 0; bit < 8; bit++) value = value & 1 ? (value >>> 1) ^ CRC32C_POLYNOMIAL : value >>> 1
    return value
  }))
  let crc = 0xffffffff
  return {
    update(chunk) {
      for (let at = 0; at < chunk.length; at++) crc = (crc >>> 8) ^ (table[(crc ^ (chunk[at] ?? 0)) & 0xff] ?? 0)
    },
    digest() {
      const out = Buffer.alloc(4)
      out.writeUInt32BE((crc ^ 0xffffffff) >>> 0)
      return out
    },
  }
}

// CRC-64/NVME, reflected; kept as two 32-bit halves, because BigInt per byte is a hundred times slower.
const CRC64_POLYNOMIAL = 0x9a6c9329ac4bc9b5n
let crc64Tables: { high: Uint32Array; low: Uint32Array } | undefined

function startCrc64(): RunningChecksum {
  const { high: highTable, low: lowTable } = (crc64Tables ??= makeCrc64Tables())
  let high = 0xffffffff
  let low = 0xffffffff
  return {
    update(chunk) {
      for (let at = 0; at < chunk.length; at++) {
        const index = (low ^ (chunk[at] ?? 0)) & 0xff
        low = ((low >>> 8) | (high << 24)) ^ (lowTable[index] ?? 0)
        high = (high >>> 8) ^ (highTable[index] ?? 0)
      }
    },
    digest() {
      const out = Buffer.alloc(8)
      out.writeUInt32BE((high ^ 0xffffffff) >>> 0)
      out.writeUInt32BE((low ^ 0xffffffff) >>> 0, 4)
      return out
    },
  }
}

function makeCrc64Tables() {
  const high = new Uint32Array(256)
  const low = new Uint32Array(256)
  for (let byte = 0; byte < 256; byte++) {
    let value = BigInt(byte)
    for (let bit = 0; bit < 8; bit++) value = value & 1n ? (value >> 1n) ^ CRC64_POLYNOMIAL : value >> 1n
    high[byte] = Number(value >> 32n)
    low[byte] = Number(value & 0xffffffffn)
  }
  return { high, low }
}
