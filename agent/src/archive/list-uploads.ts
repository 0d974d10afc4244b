import { ListMultipartUploadsCommand, type S3Client } from '@aws-sdk/client-s3'

/** Open multipart uploads whose keys begin with `prefix`. Throws what the SDK throws: 405 or 501 where a store cannot list. */
export async function* listUploads(
  client: S3Client,
  at: { bucket: string; prefix: string },
  signal: AbortSignal,
): AsyncGenerator<{ key: string; uploadId: string }> {
  let markers: { KeyMarker?: string | undefined; UploadIdMarker?: string | undefined } | undefined = {}
  while (markers) {
    const command: ListMultipartUploadsCommand = new ListMultipartUploadsCommand({
      Bucket: at.bucket,
      Prefix: at.prefix,
      ...markers,
    })
    const page = await client.send(command, { abortSignal: signal })
    for (const { Key, UploadId } of page.Uploads ?? []) {
      if (Key?.startsWith(at.prefix) && UploadId !== undefined) yield { key: Key, uploadId: UploadId }
    }
    markers = page.IsTruncated ? { KeyMarker: page.NextKeyMarker, UploadIdMarker: page.NextUploadIdMarker } : undefined
  }
}
