import { sendEmpty, sendXml, type Call } from './answer.ts'
import { parseAlgorithm, type ChecksumAlgorithm } from './checksums.ts'
import { copyBytes, copyResult, copySource } from './copy-object.ts'
import { describe } from './describe.ts'
import { S3Fault } from './fault.ts'
import { dropBlobs, writeBlob } from './files.ts'
import { parseCopyRange } from './range.ts'
import { receiveBody } from './receive.ts'
import type { StoredPart } from './records.ts'
import { headerOf, queryOf, type S3Request } from './request.ts'
import { closeUpload, commitPart, findUpload, openUpload } from './uploads.ts'
import { leaf, xmlDocument } from './xml.ts'

const MAX_PART_NUMBER = 10_000

export function createMultipartUpload({ request, response, bucket, key }: Call): void {
  const asked = headerOf(request, 'x-amz-checksum-algorithm')
  const checksumAlgorithm = asked === undefined ? undefined : parseAlgorithm(asked)
  const checksumType = checksumAlgorithm && readChecksumType(request, checksumAlgorithm)
  const upload = openUpload(bucket, { key, ...describe(request), checksumAlgorithm, checksumType })
  const headers: Record<string, string> = {}
  if (checksumAlgorithm) headers['x-amz-checksum-algorithm'] = checksumAlgorithm
  if (checksumType) headers['x-amz-checksum-type'] = checksumType
  const body = [leaf('Bucket', bucket.name), leaf('Key', key), leaf('UploadId', upload.uploadId)]
  sendXml(response, xmlDocument('InitiateMultipartUploadResult', ...body), headers)
}

export async function uploadPart(call: Call): Promise<void> {
  const { request, response, payload, bucket } = call
  const number = partNumber(request)
  const upload = requestedUpload(call)
  const { blob, md5, checksum } = await writeBlob(
    bucket,
    async (sink) => await receiveBody(request, payload, sink, { algorithm: upload.checksumAlgorithm }),
  )
  const etag = md5.toString('hex')
  storePart(call, { number, blob, etag, modifiedMs: Date.now(), checksum })
  const headers: Record<string, string> = { etag: `"${etag}"` }
  if (checksum) headers[`x-amz-checksum-${checksum.algorithm.toLowerCase()}`] = checksum.value
  sendEmpty(response, 200, headers)
}

export async function uploadPartCopy(call: Call): Promise<void> {
  const { request, response, bucket } = call
  const number = partNumber(request)
  const upload = requestedUpload(call)
  const source = copySource(call)
  const range = parseCopyRange(headerOf(request, 'x-amz-copy-source-range'), source.object.size)
  const { blob, etag, checksum } = await copyBytes(source, range, bucket, upload.checksumAlgorithm)
  const modifiedMs = Date.now()
  storePart(call, { number, blob, etag, modifiedMs, checksum })
  sendXml(response, copyResult('CopyPartResult', etag, modifiedMs, checksum))
}

export function abortMultipartUpload(call: Call): void {
  closeUpload(call.bucket, requestedUpload(call))
  sendEmpty(call.response, 204)
}

export function requestedUpload({ request, bucket, key }: Call) {
  return findUpload(bucket, key, queryOf(request, 'uploadId') ?? '')
}

/** The upload may have been aborted or completed while the part was on its way. */
function storePart(call: Call, part: StoredPart): void {
  try {
    commitPart(call.bucket, requestedUpload(call), part)
  } catch (error) {
    dropBlobs(call.bucket, [part.blob])
    throw error
  }
}

function partNumber(request: S3Request): number {
  const number = Number(queryOf(request, 'partNumber'))
  if (Number.isInteger(number) && number >= 1 && number <= MAX_PART_NUMBER) return number
  throw new S3Fault('InvalidArgument', `Part number must be an integer between 1 and ${MAX_PART_NUMBER}, inclusive`)
}

/** S3's table of what goes together: SHA only composite, CRC64NVME only over the full object, CRC32(C) either. */
function readChecksumType(request: S3Request, algorithm: ChecksumAlgorithm) {
  const asked = headerOf(request, 'x-amz-checksum-type')
  const type = asked ?? (algorithm === 'CRC64NVME' ? 'FULL_OBJECT' : 'COMPOSITE')
  if (type === 'COMPOSITE' && algorithm !== 'CRC64NVME') return type
  if (type === 'FULL_OBJECT' && !algorithm.startsWith('SHA')) return type
  throw new S3Fault('InvalidRequest', `The ${type} checksum type cannot be used with the ${algorithm} algorithm.`)
}
