/** The smallest part S3 takes: it is memory, times parts in flight, times objects at once. */
const MIN_PART_BYTES = 5 * 1024 * 1024
/** S3's limit ("Multipart upload limits"). */
const MAX_PART_BYTES = 5 * 1024 ** 3
/**
 * Parts of the same size, which some stores insist on, for as long as the estimate holds. The rest of S3's 10,000 are for
 * estimates that were too low.
 */
const EVEN_PARTS = 6000
/** A part beyond those is this share of all that was sent: 4,000 of them make 200 times what 6,000 even ones hold. */
const GROWTH = 1 / 750

/**
 * How many bytes the next part of an object takes, if the object does not end before: as few as possible, so that memory
 * stays small, and enough that 10,000 parts hold S3's largest object (5 TiB) whatever was expected.
 */
export function nextPartBytes(expectedBytes: number, partsSent: number, bytesSent: number): number {
  const even = Math.max(MIN_PART_BYTES, Math.ceil(expectedBytes / EVEN_PARTS))
  const bytes = partsSent < EVEN_PARTS ? even : Math.max(even, Math.ceil(bytesSent * GROWTH))
  return Math.min(MAX_PART_BYTES, bytes)
}
