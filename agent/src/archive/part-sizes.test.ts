import { expect, it } from 'vitest'
import { nextPartBytes } from './part-sizes.ts'

const MiB = 1024 ** 2
const GiB = 1024 ** 3
const TiB = 1024 ** 4
/** Amazon S3 user guide, "Multipart upload limits". */
const S3 = { parts: 10_000, objectBytes: 5 * TiB, minPartBytes: 5 * MiB, maxPartBytes: 5 * GiB }

/** The parts that an object of this size is sent in. */
function partsOf(expectedBytes: number, objectBytes: number): number[] {
  const parts: number[] = []
  for (let sent = 0; sent < objectBytes;) {
    const bytes = nextPartBytes(expectedBytes, parts.length, sent)
    parts.push(Math.min(bytes, objectBytes - sent))
    sent += bytes
  }
  return parts
}

it.each([0, 1, 100 * MiB, 30 * GiB, 300 * GiB, TiB, 5 * TiB])(
  "%d expected bytes leave room for S3's largest object, in parts that S3 takes",
  (expectedBytes) => {
    const parts = partsOf(expectedBytes, S3.objectBytes)
    expect(parts.length).toBeLessThanOrEqual(S3.parts)
    expect(Math.min(...parts.slice(0, -1))).toBeGreaterThanOrEqual(S3.minPartBytes)
    expect(Math.max(...parts)).toBeLessThanOrEqual(S3.maxPartBytes)
  },
)

it('an object that is no larger than expected has parts of one size', () => {
  for (const bytes of [MiB, 20 * GiB, 100 * GiB, 900 * GiB, 5 * TiB]) {
    expect(new Set(partsOf(bytes, bytes).slice(0, -1)).size).toBeLessThanOrEqual(1)
  }
})

it('parts are the smallest there are up to 29 GiB, and 0.2 percent of an object that is larger than expected', () => {
  expect(new Set(partsOf(1, 29 * GiB).slice(0, -1))).toEqual(new Set([5 * MiB]))
  expect(Math.max(...partsOf(1, 100 * GiB))).toBeLessThan(0.002 * 100 * GiB)
})
