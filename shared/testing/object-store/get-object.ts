import { pipeline } from 'node:stream/promises'
import { sendEmpty, type Call } from './answer.ts'
import type { Bucket } from './buckets.ts'
import { checkRead } from './conditions.ts'
import { objectHeaders } from './describe.ts'
import { S3Fault } from './fault.ts'
import { holdForReading, readBytes } from './files.ts'
import { parseRange, type ByteRange } from './range.ts'
import type { StoredObject } from './records.ts'
import { headerOf, integerOf, queryOf, type S3Request } from './request.ts'

const OVERRIDES = [
  'content-type',
  'content-language',
  'expires',
  'cache-control',
  'content-disposition',
  'content-encoding',
]

/** GetObject and HeadObject: whole, a byte range, or one part of a multipart object. */
export async function getObject({ request, response, bucket, key }: Call): Promise<void> {
  const object = requireObject(bucket, key)
  const range = requestedRange(request, object)
  const mode = headerOf(request, 'x-amz-checksum-mode')?.toUpperCase()
  const headers = objectHeaders(object, mode === 'ENABLED' && range === undefined)
  if (checkRead(request, object) === 'not-modified') return sendEmpty(response, 304, headers)
  for (const name of OVERRIDES) {
    const value = queryOf(request, `response-${name}`)
    if (value !== undefined) headers[name] = value
  }
  const { start, end } = range ?? { start: 0, end: object.size }
  headers['content-length'] = String(end - start)
  if (range) headers['content-range'] = `bytes ${start}-${end - 1}/${object.size}`
  if (queryOf(request, 'partNumber')) headers['x-amz-mp-parts-count'] = String(object.blobs.length)
  response.writeHead(range ? 206 : 200, headers)
  if (request.method === 'HEAD') return void response.end()
  using _held = holdForReading(bucket, object)
  await pipeline(readBytes(bucket, object, start, end), response)
}

export function requireObject(bucket: Bucket, key: string): StoredObject {
  const object = bucket.objects.get(key)
  if (!object) throw new S3Fault('NoSuchKey')
  return object
}

function requestedRange(request: S3Request, object: StoredObject): ByteRange | undefined {
  const header = headerOf(request, 'range')
  const partNumber = integerOf(request, 'partNumber', 0, Number.MAX_SAFE_INTEGER)
  if (partNumber === 0) return parseRange(header, object.size)
  if (header !== undefined) throw new S3Fault('InvalidRequest', 'Cannot specify both Range header and partNumber.')
  const blob = object.blobs[partNumber - 1]
  if (!blob) throw new S3Fault('InvalidPartNumber')
  const start = object.blobs.slice(0, partNumber - 1).reduce((sum, earlier) => sum + earlier.size, 0)
  return { start, end: start + blob.size }
}
