import { randomBytes } from 'node:crypto'
import {
  CreateBucketCommand,
  DeleteObjectCommand,
  GetObjectCommand,
  ListMultipartUploadsCommand,
  ListObjectsV2Command,
  PutObjectCommand,
  S3Client,
} from '@aws-sdk/client-s3'
import { startSwift, SwiftUnavailable, type S3Server } from '@multiboard-sync/shared/testing/swift'

/** An S3 server that is not ours, seen through a client of its own with the SDK's defaults: the tests' second opinion. */
export interface AnotherStore extends AsyncDisposable {
  /** True for Swift, of which we know what it cannot do. */
  isSwift: boolean
  server: S3Server
  bucket: string
  /** Everything lies below it, so that a bucket with other things in it can be used. */
  prefix: string
  client: S3Client
  keys(prefix: string): Promise<string[]>
  read(key: string): Promise<Buffer>
  write(key: string, bytes: Buffer, condition?: { IfNoneMatch: '*' }): Promise<void>
  remove(key: string): Promise<void>
  /** Keys below the prefix that have an upload which is neither completed nor aborted. */
  openUploads(): Promise<string[]>
}

/** The server that S3_TEST_ENDPOINT names, otherwise Swift; the reason when this machine cannot have Swift. */
export async function openAnotherStore(): Promise<AnotherStore | string> {
  const { env } = process
  if (env['S3_TEST_ENDPOINT']) return givenStore(env['S3_TEST_ENDPOINT'], env)
  try {
    return await swiftStore()
  } catch (error) {
    if (error instanceof SwiftUnavailable) return error.message
    throw error
  }
}

async function swiftStore(): Promise<AnotherStore> {
  await using made = new AsyncDisposableStack()
  const server = made.use(await startSwift())
  const store = made.use(lookInto(server, 'archives', true))
  await store.client.send(new CreateBucketCommand({ Bucket: store.bucket }))
  const owned = made.move()
  return { ...store, [Symbol.asyncDispose]: async () => await owned.disposeAsync() }
}

function givenStore(endpoint: string, env: NodeJS.ProcessEnv): AnotherStore {
  const need = (name: string): string => {
    const value = env[name]
    if (value) return value
    throw new Error(`S3_TEST_ENDPOINT is set: ${name} must be set too.`)
  }
  const server = {
    endpoint,
    region: env['S3_TEST_REGION'] ?? 'us-east-1',
    accessKeyId: need('S3_TEST_ACCESS_KEY_ID'),
    secretAccessKey: need('S3_TEST_SECRET_ACCESS_KEY'),
  }
  const store = lookInto(server, need('S3_TEST_BUCKET'), false)
  return {
    ...store,
    [Symbol.asyncDispose]: async () => {
      for (const key of await store.keys(`${store.prefix}/`)) await store.remove(key)
      await store[Symbol.asyncDispose]()
    },
  }
}

function lookInto(server: S3Server, bucket: string, isSwift: boolean): AnotherStore {
  const { endpoint, region, accessKeyId, secretAccessKey } = server
  const client = new S3Client({
    endpoint,
    region,
    credentials: { accessKeyId, secretAccessKey },
    forcePathStyle: true,
  })
  const Bucket = bucket
  const prefix = `multiboard-sync-test-${randomBytes(6).toString('hex')}`
  return {
    isSwift,
    server,
    bucket,
    prefix,
    client,
    keys: async (below) => {
      const keys: string[] = []
      for (let from: string | undefined; ; from = keys.at(-1)) {
        const page = await client.send(new ListObjectsV2Command({ Bucket, Prefix: below, StartAfter: from }))
        for (const { Key } of page.Contents ?? []) keys.push(Key ?? '')
        if (!page.IsTruncated) return keys
      }
    },
    read: async (key) => {
      const { Body } = await client.send(new GetObjectCommand({ Bucket, Key: key }))
      return Buffer.from((await Body?.transformToByteArray()) ?? [])
    },
    write: async (key, bytes, condition) => {
      await client.send(new PutObjectCommand({ Bucket, Key: key, Body: bytes, ...condition }))
    },
    remove: async (key) => {
      await client.send(new DeleteObjectCommand({ Bucket, Key: key }))
    },
    openUploads: async () => {
      const { Uploads } = await client.send(new ListMultipartUploadsCommand({ Bucket, Prefix: `${prefix}/` }))
      return (Uploads ?? []).map(({ Key }) => Key ?? '')
    },
    [Symbol.asyncDispose]: async () => client.destroy(),
  }
}
