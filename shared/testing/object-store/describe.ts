import { S3Fault } from './fault.ts'
import type { Description, StoredObject } from './records.ts'
import { headerNames, headerOf, type S3Request } from './request.ts'

const KEPT_HEADERS = ['content-type', 'content-disposition', 'content-language', 'cache-control', 'expires']
// S3's limit for all user metadata of an object, names and values.
const MAX_METADATA_BYTES = 2048
// What changes how an object is stored or who may read it; accepting it silently would be a lie.
const REFUSED = [
  'x-amz-server-side-encryption',
  'x-amz-object-lock',
  'x-amz-grant-',
  'x-amz-website-redirect-location',
  'x-amz-write-offset-bytes',
]

/** What a PUT, POST ?uploads or copy says about the object to come. */
export function describe(request: S3Request): Description {
  const refused = REFUSED.flatMap((prefix) => headerNames(request, prefix))
  if (refused[0]) throw new S3Fault('NotImplemented', `The header ${refused[0]} is not implemented.`)
  requireDefault(request, 'x-amz-acl', 'private')
  requireDefault(request, 'x-amz-storage-class', 'STANDARD')
  const headers: Record<string, string> = {}
  for (const name of KEPT_HEADERS) {
    const value = headerOf(request, name)
    if (value !== undefined) headers[name] = value
  }
  const encoding = contentEncoding(headerOf(request, 'content-encoding'))
  if (encoding) headers['content-encoding'] = encoding
  let bytes = 0
  for (const name of headerNames(request, 'x-amz-meta-')) {
    const value = headerOf(request, name) ?? ''
    bytes += name.length - 'x-amz-meta-'.length + Buffer.byteLength(value)
    headers[name] = value
  }
  if (bytes > MAX_METADATA_BYTES) throw new S3Fault('InvalidRequest', 'Your metadata headers exceed 2 KB.')
  const tagging = new URLSearchParams(headerOf(request, 'x-amz-tagging') ?? '')
  return { headers, tags: [...tagging].map(([key, value]) => ({ key, value })) }
}

/** Headers of an answer that shows the object. */
export function objectHeaders(object: StoredObject, withChecksum: boolean): Record<string, string> {
  const headers: Record<string, string> = {
    'content-type': 'binary/octet-stream',
    ...object.headers,
    etag: `"${object.etag}"`,
    'last-modified': new Date(object.modifiedMs).toUTCString(),
    'accept-ranges': 'bytes',
  }
  if (object.tags.length > 0) headers['x-amz-tagging-count'] = String(object.tags.length)
  if (withChecksum && object.checksum) {
    headers[`x-amz-checksum-${object.checksum.algorithm.toLowerCase()}`] = object.checksum.value
    headers['x-amz-checksum-type'] = object.checksum.type
  }
  return headers
}

/** aws-chunked is how the body travelled, not what the content is. */
function contentEncoding(header: string | undefined): string | undefined {
  const kept = (header ?? '').split(',').filter((item) => item.trim() !== 'aws-chunked')
  return kept.join(',').trim() || undefined
}

function requireDefault(request: S3Request, name: string, value: string): void {
  const given = headerOf(request, name)
  if (given !== undefined && given !== value) {
    throw new S3Fault('NotImplemented', `${name} ${given} is not implemented.`)
  }
}
