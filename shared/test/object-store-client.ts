import { createRequire } from 'node:module'
import type * as ClientS3 from '../../agent/node_modules/@aws-sdk/client-s3/dist-types/index.d.ts'
import type * as LibStorage from '../node_modules/@aws-sdk/lib-storage/dist-types/index.d.ts'
import type { ObjectStore } from '../testing/object-store.ts'

// The server is tested with the very client that the product uses, and with the SDK's own uploads.
export const S3: typeof ClientS3 = createRequire(new URL('../../agent/package.json', import.meta.url))(
  '@aws-sdk/client-s3',
)
export const { Upload }: typeof LibStorage = createRequire(import.meta.url)('@aws-sdk/lib-storage')

/** A client of the store that tries once, so that every answer of the server is seen. */
export function connect(store: ObjectStore, overrides: ClientS3.S3ClientConfig = {}): ClientS3.S3Client {
  return new S3.S3Client({
    endpoint: store.endpoint,
    region: store.region,
    forcePathStyle: true,
    maxAttempts: 1,
    credentials: { accessKeyId: store.accessKeyId, secretAccessKey: store.secretAccessKey },
    ...overrides,
  })
}

/** The status and code that a request is refused with; throws when it is not refused. */
export async function refusal(answer: Promise<unknown>): Promise<{ status: number | undefined; code: string }> {
  try {
    await answer
  } catch (error) {
    if (error instanceof S3.S3ServiceException) {
      return { status: error.$metadata.httpStatusCode, code: error.name }
    }
    throw error
  }
  throw new Error('The request was not refused.')
}

/** Blocks of noise, to be streamed. */
export function* blocks(source: Buffer, blockBytes: number): Generator<Buffer> {
  for (let at = 0; at < source.length; at += blockBytes) yield source.subarray(at, at + blockBytes)
}
