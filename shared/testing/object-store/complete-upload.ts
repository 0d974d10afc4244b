import { createHash } from 'node:crypto'
import { sendXml, type Call } from './answer.ts'
import type { Bucket } from './buckets.ts'
import {
  CHECKSUM_ALGORITHMS,
  checksumHeader,
  compositeChecksum,
  startChecksum,
  type Checksum,
  type ChecksumAlgorithm,
} from './checksums.ts'
import { checkWrite } from './conditions.ts'
import { checksumLeaf } from './copy-object.ts'
import { S3Fault } from './fault.ts'
import { commitObject, holdForReading, readBytes } from './files.ts'
import { requestedUpload } from './multipart.ts'
import { receiveText } from './receive.ts'
import type { StoredObject, StoredPart, StoredUpload } from './records.ts'
import { headerOf, type S3Request } from './request.ts'
import { closeUpload } from './uploads.ts'
import { childrenOf, leaf, parseXml, textOf, xmlDocument, type XmlNode } from './xml.ts'

// Every part but the last one.
const MIN_PART_BYTES = 5 * 1024 * 1024

/** CompleteMultipartUpload: the parts' files become the object's, nothing is copied. On an error the upload stays open. */
export async function completeMultipartUpload(call: Call): Promise<void> {
  const { request, response, payload, bucket, key } = call
  requestedUpload(call)
  const text = await receiveText(request, payload, { headersSpeakOfObject: true })
  const root = parseXml(text, 'CompleteMultipartUpload')
  const upload = requestedUpload(call)
  const parts = chooseParts(upload, childrenOf(root, 'Part'))
  checkWrite(request, bucket.objects.get(key))
  const blobs = parts.map((part) => part.blob)
  const object: StoredObject = {
    key,
    blobs,
    size: blobs.reduce((sum, blob) => sum + blob.size, 0),
    etag: multipartEtag(parts),
    modifiedMs: Date.now(),
    headers: upload.headers,
    tags: upload.tags,
    uploadId: upload.uploadId,
  }
  object.checksum = await objectChecksum(bucket, upload, parts, object)
  checkPromised(request, object.checksum)
  // Reading for a full checksum gave others a turn: look again before the commit.
  requestedUpload(call)
  if (parts.some((part) => upload.parts.get(part.number) !== part)) throw new S3Fault('InvalidPart')
  checkWrite(request, bucket.objects.get(key))
  commitObject(bucket, object)
  closeUpload(bucket, upload, new Set(parts))
  sendXml(
    response,
    xmlDocument(
      'CompleteMultipartUploadResult',
      leaf('Location', `/${bucket.name}/${key}`),
      leaf('Bucket', bucket.name),
      leaf('Key', key),
      leaf('ETag', `"${object.etag}"`),
      checksumLeaf(object.checksum),
      leaf('ChecksumType', object.checksum?.type),
    ),
  )
}

function chooseParts(upload: StoredUpload, listed: XmlNode[]): StoredPart[] {
  if (listed.length === 0) throw new S3Fault('MalformedXML')
  const numbers = listed.map((node) => Number(textOf(node, 'PartNumber')))
  if (numbers.some((number, at) => at > 0 && number <= (numbers[at - 1] ?? 0))) throw new S3Fault('InvalidPartOrder')
  const parts = listed.map((node, at) => {
    const part = upload.parts.get(numbers[at] ?? 0)
    const etag = textOf(node, 'ETag')?.replace(/^"|"$/g, '')
    if (!part || part.etag !== etag) throw new S3Fault('InvalidPart')
    for (const algorithm of CHECKSUM_ALGORITHMS) {
      const value = textOf(node, `Checksum${algorithm}`)
      const known = part.checksum?.algorithm === algorithm ? part.checksum.value : undefined
      if (value !== undefined && value !== known) throw new S3Fault('InvalidPart')
    }
    return part
  })
  if (parts.slice(0, -1).some((part) => part.blob.size < MIN_PART_BYTES)) throw new S3Fault('EntityTooSmall')
  return parts
}

function multipartEtag(parts: StoredPart[]): string {
  const hash = createHash('md5')
  for (const part of parts) hash.update(Buffer.from(part.etag, 'hex'))
  return `${hash.digest('hex')}-${parts.length}`
}

async function objectChecksum(bucket: Bucket, upload: StoredUpload, parts: StoredPart[], object: StoredObject) {
  const algorithm = upload.checksumAlgorithm ?? commonAlgorithm(parts)
  if (!algorithm) return undefined
  if (upload.checksumType !== 'FULL_OBJECT') {
    const values = parts.flatMap((part) => (part.checksum?.algorithm === algorithm ? [part.checksum.value] : []))
    return values.length === parts.length ? compositeChecksum(algorithm, values) : undefined
  }
  using _held = holdForReading(bucket, object)
  const running = startChecksum(algorithm)
  for await (const chunk of readBytes(bucket, object, 0, object.size)) running.update(chunk)
  return { algorithm, value: running.digest().toString('base64'), type: 'FULL_OBJECT' as const }
}

function commonAlgorithm(parts: StoredPart[]): ChecksumAlgorithm | undefined {
  const algorithm = parts[0]?.checksum?.algorithm
  if (algorithm === 'CRC64NVME') return undefined
  return parts.every((part) => part.checksum?.algorithm === algorithm) ? algorithm : undefined
}

/** With CompleteMultipartUpload a checksum header speaks of the object, not of the request's body. */
function checkPromised(request: S3Request, checksum: Checksum | undefined): void {
  for (const algorithm of CHECKSUM_ALGORITHMS) {
    const promised = headerOf(request, checksumHeader(algorithm))
    if (promised !== undefined && (checksum?.algorithm !== algorithm || checksum.value !== promised)) {
      throw new S3Fault('BadDigest', `The ${algorithm} you specified did not match the calculated checksum.`)
    }
  }
}
