import { S3Fault } from './fault.ts'

export interface ByteRange {
  /** First byte. */
  start: number
  /** One behind the last byte. */
  end: number
}

/**
 * A Range header against a size: undefined when there is none or it is to be ignored (RFC 9110, 14.2: another unit,
 * several ranges). Throws InvalidRange (416) when no byte lies in it.
 */
export function parseRange(header: string | undefined, size: number): ByteRange | undefined {
  const match = /^bytes=(\d*)-(\d*)$/.exec(header ?? '')
  const [, first = '', last = ''] = match ?? []
  if (first === '' && last === '') return undefined
  if (first === '') {
    const length = Math.min(Number(last), size)
    if (length === 0) throw new S3Fault('InvalidRange')
    return { start: size - length, end: size }
  }
  if (last !== '' && Number(last) < Number(first)) return undefined
  if (Number(first) >= size) throw new S3Fault('InvalidRange')
  return { start: Number(first), end: last === '' ? size : Math.min(Number(last) + 1, size) }
}

/** x-amz-copy-source-range: both ends given and inside the source. */
export function parseCopyRange(header: string | undefined, size: number): ByteRange {
  if (header === undefined) return { start: 0, end: size }
  const match = /^bytes=(\d+)-(\d+)$/.exec(header)
  const start = Number(match?.[1])
  const end = Number(match?.[2]) + 1
  if (!(start < end && end <= size)) {
    throw new S3Fault(
      'InvalidArgument',
      'The x-amz-copy-source-range value must be bytes=first-last within the source.',
    )
  }
  return { start, end }
}
