import { createHash } from 'node:crypto'
import { pipeline } from 'node:stream/promises'
import { isoTime, notImplemented, sendXml, type Call } from './answer.ts'
import { findBucket, type Bucket } from './buckets.ts'
import { parseAlgorithm, startChecksum, type Checksum, type ChecksumAlgorithm } from './checksums.ts'
import { checkRead, checkWrite } from './conditions.ts'
import { describe } from './describe.ts'
import { S3Fault } from './fault.ts'
import { commitObject, dropBlobs, holdForReading, readBytes, writeBlob } from './files.ts'
import { requireObject } from './get-object.ts'
import type { ByteRange } from './range.ts'
import type { StoredObject } from './records.ts'
import { headerOf } from './request.ts'
import { leaf, xmlDocument } from './xml.ts'

export interface CopySource {
  bucket: Bucket
  object: StoredObject
}

/** CopyObject: the content is copied, not linked, so that a fault put into one object leaves the other alone. */
export async function copyObject(call: Call): Promise<void> {
  const { request, response, bucket, key } = call
  const source = copySource(call)
  const directive = headerOf(request, 'x-amz-metadata-directive') ?? 'COPY'
  const taggingDirective = headerOf(request, 'x-amz-tagging-directive') ?? 'COPY'
  if (source.object === bucket.objects.get(key) && directive !== 'REPLACE') {
    throw new S3Fault('InvalidRequest', 'This copy request is illegal because it copies an object to itself unchanged.')
  }
  const described = describe(request)
  checkWrite(request, bucket.objects.get(key))
  const asked = headerOf(request, 'x-amz-checksum-algorithm')
  const algorithm = asked === undefined ? source.object.checksum?.algorithm : parseAlgorithm(asked)
  const { blob, size, etag, checksum } = await copyBytes(
    source,
    { start: 0, end: source.object.size },
    bucket,
    algorithm,
  )
  const modifiedMs = Date.now()
  try {
    checkWrite(request, bucket.objects.get(key))
    commitObject(bucket, {
      key,
      blobs: [blob],
      size,
      etag,
      modifiedMs,
      headers: directive === 'REPLACE' ? described.headers : source.object.headers,
      tags: taggingDirective === 'REPLACE' ? described.tags : source.object.tags,
      checksum,
    })
  } catch (error) {
    dropBlobs(bucket, [blob])
    throw error
  }
  sendXml(response, copyResult('CopyObjectResult', etag, modifiedMs, checksum))
}

/** The object named by x-amz-copy-source (`/bucket/key`, percent-encoded), with its conditions checked. */
export function copySource({ request, buckets }: Call): CopySource {
  const [path = '', version] = (headerOf(request, 'x-amz-copy-source') ?? '').split('?versionId=')
  if (version !== undefined && version !== 'null') notImplemented('A version of an object')
  const match = /^\/?([^/]+)\/(.+)$/s.exec(decodeSource(path))
  if (!match?.[1] || !match[2]) throw new S3Fault('InvalidArgument', 'Copy source must be of the form bucket/key.')
  const bucket = findBucket(buckets, match[1])
  const object = requireObject(bucket, match[2])
  if (checkRead(request, object, 'x-amz-copy-source-') === 'not-modified') throw new S3Fault('PreconditionFailed')
  return { bucket, object }
}

export async function copyBytes(
  source: CopySource,
  range: ByteRange,
  target: Bucket,
  algorithm: ChecksumAlgorithm | undefined,
) {
  using _held = holdForReading(source.bucket, source.object)
  const md5 = createHash('md5')
  const running = algorithm && startChecksum(algorithm)
  const { blob, size } = await writeBlob(target, async (sink) => {
    let copied = 0
    await pipeline(async function* () {
      for await (const chunk of readBytes(source.bucket, source.object, range.start, range.end)) {
        copied += chunk.length
        md5.update(chunk)
        running?.update(chunk)
        yield chunk
      }
    }, sink)
    return { size: copied }
  })
  const checksum: Checksum | undefined =
    algorithm && running ? { algorithm, value: running.digest().toString('base64'), type: 'FULL_OBJECT' } : undefined
  return { blob, size, etag: md5.digest('hex'), checksum }
}

export function copyResult(root: string, etag: string, modifiedMs: number, checksum: Checksum | undefined): string {
  return xmlDocument(root, leaf('LastModified', isoTime(modifiedMs)), leaf('ETag', `"${etag}"`), checksumLeaf(checksum))
}

export function checksumLeaf(checksum: Checksum | undefined): string {
  return checksum ? leaf(`Checksum${checksum.algorithm}`, checksum.value) : ''
}

function decodeSource(path: string): string {
  try {
    return decodeURIComponent(path)
  } catch (cause) {
    throw new S3Fault('InvalidArgument', 'The copy source is not percent-encoded.', { cause })
  }
}
