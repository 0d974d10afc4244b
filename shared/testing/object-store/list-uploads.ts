import { isoTime, notImplemented, sendXml, type Call } from './answer.ts'
import type { Bucket } from './buckets.ts'
import { checksumLeaf } from './copy-object.ts'
import { compareUtf8, nameEncoder } from './listing.ts'
import { requestedUpload } from './multipart.ts'
import type { StoredUpload } from './records.ts'
import { integerOf, queryOf } from './request.ts'
import { branch, leaf, xmlDocument } from './xml.ts'

const MAX_PAGE = 1000

/** ListMultipartUploads: by key, then by age; paged with key-marker and upload-id-marker. */
export function listMultipartUploads({ request, response, bucket }: Call): void {
  if (queryOf(request, 'delimiter')) notImplemented('A delimiter in ListMultipartUploads')
  const prefix = queryOf(request, 'prefix') ?? ''
  const keyMarker = queryOf(request, 'key-marker') ?? ''
  const idMarker = queryOf(request, 'upload-id-marker') ?? ''
  const max = integerOf(request, 'max-uploads', MAX_PAGE, MAX_PAGE)
  const show = nameEncoder(request)
  const behind = uploadsOf(bucket).filter(({ key, uploadId }) => {
    if (!key.startsWith(prefix)) return false
    const order = compareUtf8(key, keyMarker)
    return order > 0 || (order === 0 && idMarker !== '' && uploadId > idMarker)
  })
  const page = behind.slice(0, max)
  const last = behind.length > page.length ? page.at(-1) : undefined
  sendXml(
    response,
    xmlDocument(
      'ListMultipartUploadsResult',
      leaf('Bucket', bucket.name),
      leaf('KeyMarker', show(keyMarker)),
      leaf('UploadIdMarker', idMarker),
      leaf('NextKeyMarker', show(last?.key)),
      leaf('NextUploadIdMarker', last?.uploadId),
      leaf('Prefix', show(prefix)),
      leaf('EncodingType', queryOf(request, 'encoding-type')),
      leaf('MaxUploads', max),
      leaf('IsTruncated', last !== undefined),
      ...page.map((upload) =>
        branch(
          'Upload',
          leaf('Key', show(upload.key)),
          leaf('UploadId', upload.uploadId),
          leaf('StorageClass', 'STANDARD'),
          leaf('Initiated', isoTime(upload.startedMs)),
          leaf('ChecksumAlgorithm', upload.checksumAlgorithm),
          leaf('ChecksumType', upload.checksumType),
        ),
      ),
    ),
  )
}

/** ListParts: by number; paged with part-number-marker. */
export function listParts(call: Call): void {
  const { request, response, bucket } = call
  const upload = requestedUpload(call)
  const marker = integerOf(request, 'part-number-marker', 0, Number.MAX_SAFE_INTEGER)
  const max = integerOf(request, 'max-parts', MAX_PAGE, MAX_PAGE)
  const behind = [...upload.parts.values()].filter((part) => part.number > marker).sort((a, b) => a.number - b.number)
  const page = behind.slice(0, max)
  const truncated = behind.length > page.length
  sendXml(
    response,
    xmlDocument(
      'ListPartsResult',
      leaf('Bucket', bucket.name),
      leaf('Key', upload.key),
      leaf('UploadId', upload.uploadId),
      leaf('StorageClass', 'STANDARD'),
      leaf('PartNumberMarker', marker),
      leaf('NextPartNumberMarker', truncated ? page.at(-1)?.number : undefined),
      leaf('MaxParts', max),
      leaf('IsTruncated', truncated),
      leaf('ChecksumAlgorithm', upload.checksumAlgorithm),
      leaf('ChecksumType', upload.checksumType),
      ...page.map((part) =>
        branch(
          'Part',
          leaf('PartNumber', part.number),
          leaf('LastModified', isoTime(part.modifiedMs)),
          leaf('ETag', `"${part.etag}"`),
          leaf('Size', part.blob.size),
          checksumLeaf(part.checksum),
        ),
      ),
    ),
  )
}

export function uploadsOf(bucket: Bucket): StoredUpload[] {
  return [...bucket.uploads.values()].sort((a, b) => compareUtf8(a.key, b.key) || compareUtf8(a.uploadId, b.uploadId))
}
