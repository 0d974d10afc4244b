import { isoTime, sendXml, type Call } from './answer.ts'
import type { Bucket } from './buckets.ts'
import { S3Fault } from './fault.ts'
import type { StoredObject } from './records.ts'
import { integerOf, queryOf, type S3Request } from './request.ts'
import { branch, leaf, xmlDocument } from './xml.ts'

const MAX_PAGE = 1000

interface Page {
  objects: StoredObject[]
  prefixes: string[]
  /** The last key or common prefix of a page behind which there is more. */
  next: string | undefined
}

/** ListObjectsV2 (list-type=2) and ListObjects. */
export function listObjects({ request, response, bucket }: Call): void {
  const v2 = queryOf(request, 'list-type') === '2'
  const prefix = queryOf(request, 'prefix') ?? ''
  const delimiter = queryOf(request, 'delimiter') ?? ''
  const max = integerOf(request, 'max-keys', MAX_PAGE, MAX_PAGE)
  const show = nameEncoder(request)
  const token = queryOf(request, 'continuation-token')
  const after = v2
    ? token === undefined
      ? queryOf(request, 'start-after')
      : readToken(token)
    : queryOf(request, 'marker')
  const page = readPage(bucket, { prefix, delimiter, after: after ?? '', max })
  const paging = v2
    ? [
        leaf('KeyCount', page.objects.length + page.prefixes.length),
        leaf('ContinuationToken', token),
        leaf('StartAfter', show(queryOf(request, 'start-after'))),
        leaf('NextContinuationToken', page.next && Buffer.from(page.next).toString('base64url')),
      ]
    : [leaf('Marker', show(after ?? '')), leaf('NextMarker', delimiter ? show(page.next) : undefined)]
  const contents = page.objects.map((object) =>
    branch(
      'Contents',
      leaf('Key', show(object.key)),
      leaf('LastModified', isoTime(object.modifiedMs)),
      leaf('ETag', `"${object.etag}"`),
      leaf('ChecksumAlgorithm', object.checksum?.algorithm),
      leaf('ChecksumType', object.checksum?.type),
      leaf('Size', object.size),
      leaf('StorageClass', 'STANDARD'),
    ),
  )
  sendXml(
    response,
    xmlDocument(
      'ListBucketResult',
      leaf('Name', bucket.name),
      leaf('Prefix', show(prefix)),
      leaf('Delimiter', show(delimiter || undefined)),
      leaf('MaxKeys', max),
      leaf('EncodingType', queryOf(request, 'encoding-type')),
      leaf('IsTruncated', page.next !== undefined),
      ...paging,
      ...contents,
      ...page.prefixes.map((name) => branch('CommonPrefixes', leaf('Prefix', show(name)))),
    ),
  )
}

/** Every key of the bucket that begins with the prefix, in UTF-8 binary order. */
export function keysOf(bucket: Bucket, prefix = ''): string[] {
  return sortedKeys(bucket).filter((key) => key.startsWith(prefix))
}

export function compareUtf8(a: string, b: string): number {
  return Buffer.compare(Buffer.from(a), Buffer.from(b))
}

/** Percent-encodes names when the client asked for encoding-type=url. */
export function nameEncoder(request: S3Request): (name: string | undefined) => string | undefined {
  const type = queryOf(request, 'encoding-type')
  if (type !== undefined && type !== 'url') throw new S3Fault('InvalidArgument', 'Invalid Encoding Method specified.')
  if (type === undefined) return (name) => name
  return (name) => name && encodeURIComponent(name).replaceAll('%2F', '/')
}

function readPage(
  bucket: Bucket,
  { prefix, delimiter, after, max }: { prefix: string; delimiter: string; after: string; max: number },
): Page {
  const page: Page = { objects: [], prefixes: [], next: undefined }
  const keys = sortedKeys(bucket)
  let last: string | undefined
  for (let at = max === 0 ? keys.length : firstBehind(keys, after); at < keys.length; at++) {
    const key = keys[at] ?? ''
    if (!key.startsWith(prefix)) continue
    const cut = delimiter === '' ? -1 : key.indexOf(delimiter, prefix.length)
    const common = cut < 0 ? undefined : key.slice(0, cut + delimiter.length)
    // A common prefix that stands already, on this page or as the end of the page before.
    if (common !== undefined && (common === last || common === after)) continue
    if (page.objects.length + page.prefixes.length === max) {
      page.next = last
      break
    }
    const object = bucket.objects.get(key)
    if (common !== undefined) page.prefixes.push(common)
    else if (object) page.objects.push(object)
    last = common ?? key
  }
  return page
}

function sortedKeys(bucket: Bucket): string[] {
  bucket.sortedKeys ??= [...bucket.objects.keys()]
    .map((key) => ({ key, bytes: Buffer.from(key) }))
    .sort((a, b) => Buffer.compare(a.bytes, b.bytes))
    .map(({ key }) => key)
  return bucket.sortedKeys
}

/** Index of the first key greater than `after`. */
function firstBehind(keys: string[], after: string): number {
  let low = 0
  let high = keys.length
  while (low < high) {
    const middle = (low + high) >>> 1
    if (compareUtf8(keys[middle] ?? '', after) > 0) high = middle
    else low = middle + 1
  }
  return low
}

function readToken(token: string): string {
  const key = Buffer.from(token, 'base64url').toString()
  if (key !== '' && Buffer.from(key).toString('base64url') === token) return key
  throw new S3Fault('InvalidArgument', 'The continuation token provided is incorrect')
}
