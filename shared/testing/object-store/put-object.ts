import { sendEmpty, type Call } from './answer.ts'
import { parseAlgorithm } from './checksums.ts'
import { checkWrite } from './conditions.ts'
import { describe } from './describe.ts'
import { commitObject, dropBlobs, writeBlob } from './files.ts'
import { receiveBody } from './receive.ts'
import { headerOf } from './request.ts'

/** PutObject: the old object stays until the new one is whole and proven. */
export async function putObject({ request, response, payload, bucket, key }: Call): Promise<void> {
  const description = describe(request)
  checkWrite(request, bucket.objects.get(key))
  const asked = headerOf(request, 'x-amz-sdk-checksum-algorithm')
  const algorithm = asked === undefined ? undefined : parseAlgorithm(asked)
  const { blob, size, md5, checksum } = await writeBlob(
    bucket,
    async (sink) => await receiveBody(request, payload, sink, { algorithm }),
  )
  const etag = md5.toString('hex')
  try {
    checkWrite(request, bucket.objects.get(key))
    commitObject(bucket, { key, blobs: [blob], size, etag, modifiedMs: Date.now(), ...description, checksum })
  } catch (error) {
    dropBlobs(bucket, [blob])
    throw error
  }
  const headers: Record<string, string> = { etag: `"${etag}"` }
  if (checksum) {
    headers[`x-amz-checksum-${checksum.algorithm.toLowerCase()}`] = checksum.value
    headers['x-amz-checksum-type'] = checksum.type
  }
  sendEmpty(response, 200, headers)
}
