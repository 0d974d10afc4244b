import { randomBytes } from 'node:crypto'
import { existsSync } from 'node:fs'
import { readdir } from 'node:fs/promises'
import { connect as connectSocket } from 'node:net'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import { text } from 'node:stream/consumers'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { startObjectStore, type ObjectStore } from '../testing/object-store.ts'
import { blocks, connect, refusal, S3, Upload } from './object-store-client.ts'

const MIB = 1024 * 1024
const Bucket = 'archives'
let store: ObjectStore
let client: ReturnType<typeof connect>

beforeAll(async () => {
  store = await startObjectStore()
  await store.createBucket(Bucket)
  client = connect(store)
})
afterAll(async () => {
  client.destroy()
  await store.close()
})

const put = async (Key: string, Body: string | Buffer, more: object = {}) =>
  await client.send(new S3.PutObjectCommand({ Bucket, Key, Body, ...more }))
const get = async (Key: string, more: object = {}) => {
  const answer = await client.send(new S3.GetObjectCommand({ Bucket, Key, ...more }))
  return { ...answer, bytes: Buffer.from((await answer.Body?.transformToByteArray()) ?? []) }
}
const beginUpload = async (Key: string, more: object = {}) => {
  const { UploadId } = await client.send(new S3.CreateMultipartUploadCommand({ Bucket, Key, ...more }))
  const part = async (PartNumber: number, Body: Buffer) => {
    const { ETag } = await client.send(new S3.UploadPartCommand({ Bucket, Key, UploadId, PartNumber, Body }))
    return { PartNumber, ETag }
  }
  const complete = async (Parts: object[], extra: object = {}) =>
    await client.send(
      new S3.CompleteMultipartUploadCommand({ Bucket, Key, UploadId, MultipartUpload: { Parts }, ...extra }),
    )
  return { UploadId, part, complete }
}

describe('content', () => {
  test('a stream sent as aws-chunked is stored without its framing', async () => {
    const content = randomBytes(3_000_001)
    const Body = Readable.from(blocks(content, 100_000))
    const command = { Bucket, Key: 'chunked', Body, ContentLength: content.length, ContentEncoding: 'gzip' }
    await client.send(new S3.PutObjectCommand(command))
    expect((await store.read(Bucket, 'chunked')).equals(content)).toBe(true)
    const head = await client.send(new S3.HeadObjectCommand({ Bucket, Key: 'chunked' }))
    expect([head.ContentLength, head.ContentEncoding]).toEqual([content.length, 'gzip'])
  })

  test.for(['WHEN_SUPPORTED', 'WHEN_REQUIRED'] as const)(
    'lib-storage brings a 22 MiB stream in parts and its metadata, checksums %s',
    async (requestChecksumCalculation) => {
      const content = randomBytes(22 * MIB)
      using modeClient = withDispose(connect(store, { requestChecksumCalculation }))
      await new Upload({
        client: modeClient.client,
        partSize: 5 * MIB,
        queueSize: 3,
        params: { Bucket, Key: 'big', Body: Readable.from(blocks(content, 64_000)), Metadata: { 'job-id': 'j1' } },
      }).done()
      expect((await store.read(Bucket, 'big')).equals(content)).toBe(true)
      const head = await client.send(new S3.HeadObjectCommand({ Bucket, Key: 'big', ChecksumMode: 'ENABLED' }))
      expect(head.Metadata).toEqual({ 'job-id': 'j1' })
      expect(head.ETag).toMatch(/-5"$/)
      const composite = requestChecksumCalculation === 'WHEN_SUPPORTED' ? 'COMPOSITE' : undefined
      expect(head.ChecksumType).toBe(composite)
      expect(await store.openUploads(Bucket)).toEqual([])
    },
  )

  test('a range across parts has the bytes of both', async () => {
    const content = randomBytes(11 * MIB)
    const upload = await beginUpload('ranged')
    const first = await upload.part(1, content.subarray(0, 5 * MIB))
    const second = await upload.part(2, content.subarray(5 * MIB))
    await upload.complete([first, second])
    const answer = await get('ranged', { Range: `bytes=${5 * MIB - 7}-${5 * MIB + 8}` })
    expect(answer.$metadata.httpStatusCode).toBe(206)
    expect(answer.ContentRange).toBe(`bytes ${5 * MIB - 7}-${5 * MIB + 8}/${11 * MIB}`)
    expect(answer.bytes).toEqual(content.subarray(5 * MIB - 7, 5 * MIB + 9))
    expect((await get('ranged', { Range: 'bytes=-3' })).bytes).toEqual(content.subarray(-3))
    expect((await get('ranged', { PartNumber: 2 })).bytes.equals(content.subarray(5 * MIB))).toBe(true)
    expect(await refusal(get('ranged', { Range: `bytes=${11 * MIB}-` }))).toMatchObject({ status: 416 })
  })

  test.for(['CRC32', 'CRC32C', 'CRC64NVME', 'SHA1', 'SHA256'] as const)(
    'a right %s is accepted and given back',
    async (ChecksumAlgorithm) => {
      // The SDK needs another package for CRC64NVME, and the value of "123456789" is known.
      const known = { ChecksumCRC64NVME: 'rosUhgp5mIg=' }
      await put('sum', '123456789', ChecksumAlgorithm === 'CRC64NVME' ? known : { ChecksumAlgorithm })
      const head = await client.send(new S3.HeadObjectCommand({ Bucket, Key: 'sum', ChecksumMode: 'ENABLED' }))
      expect(head[`Checksum${ChecksumAlgorithm}`]).toBeTruthy()
      expect(head.ChecksumType).toBe('FULL_OBJECT')
    },
  )

  test('a reader in the middle of an object gets the old one to its end, whatever is written or deleted', async () => {
    const old = Buffer.alloc(12 * MIB, 1)
    const upload = await beginUpload('replaced')
    await upload.complete([await upload.part(1, old.subarray(0, 6 * MIB)), await upload.part(2, old.subarray(6 * MIB))])
    const answer = await client.send(new S3.GetObjectCommand({ Bucket, Key: 'replaced' }))
    await put('replaced', 'new')
    await store.remove(Bucket, 'replaced')
    expect(Buffer.from((await answer.Body?.transformToByteArray()) ?? []).equals(old)).toBe(true)
    expect(await refusal(get('replaced'))).toEqual({ status: 404, code: 'NoSuchKey' })
  })

  test('a copy keeps or replaces metadata and is independent of its source', async () => {
    await put('copy/from ü+', 'data', { Metadata: { a: '1' } })
    const CopySource = encodeURIComponent(`${Bucket}/copy/from ü+`)
    await client.send(new S3.CopyObjectCommand({ Bucket, Key: 'copy/kept', CopySource }))
    const replaced = { MetadataDirective: 'REPLACE', Metadata: { b: '2' } } as const
    await client.send(new S3.CopyObjectCommand({ Bucket, Key: 'copy/replaced', CopySource, ...replaced }))
    await store.flipByte(Bucket, 'copy/from ü+', 0)
    const kept = await get('copy/kept')
    expect([kept.bytes.toString(), kept.Metadata]).toEqual(['data', { a: '1' }])
    expect((await get('copy/replaced')).Metadata).toEqual({ b: '2' })
  })
})

describe('what is refused leaves nothing behind', () => {
  test('a wrong secret is SignatureDoesNotMatch, for a stream too, and nothing is stored', async () => {
    const credentials = { accessKeyId: store.accessKeyId, secretAccessKey: 'wrong' }
    using stranger = withDispose(connect(store, { credentials }))
    const Body = Readable.from([randomBytes(100_000)])
    const command = new S3.PutObjectCommand({ Bucket, Key: 'evil', Body, ContentLength: 100_000 })
    expect(await refusal(stranger.client.send(command))).toEqual({ status: 403, code: 'SignatureDoesNotMatch' })
    expect(await store.keys(Bucket, 'evil')).toEqual([])
  })

  test('an unknown access key and an anonymous request are refused', async () => {
    const credentials = { accessKeyId: 'nobody', secretAccessKey: store.secretAccessKey }
    using stranger = withDispose(connect(store, { credentials }))
    const list = stranger.client.send(new S3.ListObjectsV2Command({ Bucket }))
    expect(await refusal(list)).toEqual({ status: 403, code: 'InvalidAccessKeyId' })
    expect((await fetch(`${store.endpoint}/${Bucket}/chunked`)).status).toBe(403)
  })

  test.for([
    ['ChecksumCRC32', { ChecksumCRC32: 'AAAAAA==' }],
    ['ChecksumCRC32C', { ChecksumCRC32C: 'AAAAAA==' }],
    ['ChecksumSHA256', { ChecksumSHA256: Buffer.alloc(32).toString('base64') }],
    ['Content-MD5', { ContentMD5: Buffer.alloc(16).toString('base64') }],
  ] as const)('a wrong %s is BadDigest and the old object stays', async ([, header]) => {
    await put('guarded', 'old')
    expect(await refusal(put('guarded', 'new', header))).toEqual({ status: 400, code: 'BadDigest' })
    expect((await store.read(Bucket, 'guarded')).toString()).toBe('old')
  })

  test.for([
    ['checksum', /(checksum-crc32:)..../, '$1AAAA', 'BadDigest'],
    ['last chunk', /\r\n0\r\n/, '\r\n', 'InvalidRequest'],
    ['first chunk', /^/, 'zz', 'InvalidRequest'],
    ['trailer', /x-amz-checksum-crc32:/, 'x-amz-checksum-crc33:', 'MalformedTrailerError'],
  ] as const)('an aws-chunked body with a damaged %s is refused', async ([, pattern, replacement, code]) => {
    using damaged = withDispose(connect(store))
    damaged.client.middlewareStack.add(
      (next) => async (args) => {
        const sent = args.request as { body: Readable; headers: Record<string, string> }
        const framed = Buffer.concat(await Array.fromAsync(sent.body, (chunk) => Buffer.from(chunk))).toString('latin1')
        const body = Buffer.from(framed.replace(pattern, replacement), 'latin1')
        return await next({ ...args, request: Object.assign(sent, { body }) })
      },
      { step: 'finalizeRequest', priority: 'low' },
    )
    const Body = Readable.from(blocks(randomBytes(600_000), 50_000))
    const command = new S3.PutObjectCommand({ Bucket, Key: 'damaged', Body, ContentLength: 600_000 })
    expect(await refusal(damaged.client.send(command))).toEqual({ status: 400, code })
    expect(await store.keys(Bucket, 'damaged')).toEqual([])
  })

  test('an upload cut off in the middle leaves no object and no file, and an old object as it was', async () => {
    await put('cut', 'old')
    using slow = withDispose(connect(store, { requestChecksumCalculation: 'WHEN_REQUIRED' }))
    for (const Key of ['cut', 'never']) {
      const half = new Readable({ read() {} })
      half.push(randomBytes(400_000))
      const command = new S3.PutObjectCommand({ Bucket, Key, Body: half, ContentLength: 1_000_000 })
      await expect(slow.client.send(command, { abortSignal: AbortSignal.timeout(200) })).rejects.toThrow(/abort/i)
    }
    const received = async () => await readdir(join(store.dataDir, Bucket, 'tmp'))
    await expect.poll(received, { message: 'what was received is dropped', timeout: 5000 }).toEqual([])
    expect((await store.read(Bucket, 'cut')).toString()).toBe('old')
    expect(await store.keys(Bucket, 'never')).toEqual([])
  })

  test('a request without a valid form is answered and the server lives on', async () => {
    const socket = connectSocket(Number(new URL(store.endpoint).port), '127.0.0.1')
    socket.end('PUT /%zz HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\nConnection: close\r\n\r\n')
    expect(await text(socket)).toContain('InvalidURI')
    const body = { method: 'PUT', body: 'x', headers: { 'x-amz-content-sha256': 'UNSIGNED-PAYLOAD' } }
    expect((await fetch(`${store.endpoint}/${Bucket}/x`, body)).status).toBe(403)
  })

  test('what the server does not do is answered 501', async () => {
    const acl = client.send(new S3.PutObjectAclCommand({ Bucket, Key: 'guarded', ACL: 'public-read' }))
    expect(await refusal(acl)).toEqual({ status: 501, code: 'NotImplemented' })
    const encrypted = put('secret', 'x', { ServerSideEncryption: 'AES256' })
    expect(await refusal(encrypted)).toEqual({ status: 501, code: 'NotImplemented' })
    expect(await store.keys(Bucket, 'secret')).toEqual([])
  })
})

describe('multipart', () => {
  test('a missing part, a wrong ETag, a wrong order and a small part each have their error; the upload stays', async () => {
    const upload = await beginUpload('faulty')
    const first = await upload.part(1, Buffer.alloc(1000, 1))
    const second = await upload.part(2, Buffer.alloc(1000, 2))
    const missing = upload.complete([first, { ...second, PartNumber: 3 }])
    expect(await refusal(missing)).toEqual({ status: 400, code: 'InvalidPart' })
    const wrong = upload.complete([{ ...first, ETag: second.ETag }])
    expect(await refusal(wrong)).toEqual({ status: 400, code: 'InvalidPart' })
    expect(await refusal(upload.complete([second, first]))).toEqual({ status: 400, code: 'InvalidPartOrder' })
    expect(await refusal(upload.complete([first, second]))).toEqual({ status: 400, code: 'EntityTooSmall' })
    expect(await store.openUploads(Bucket)).toEqual([{ key: 'faulty', uploadId: upload.UploadId }])
    await upload.complete([second])
    expect(await store.read(Bucket, 'faulty')).toEqual(Buffer.alloc(1000, 2))
    expect(await refusal(upload.complete([second]))).toEqual({ status: 404, code: 'NoSuchUpload' })
  })

  test('open uploads are listed by prefix and page by page until they are aborted', async () => {
    const ids = await Promise.all([1, 2, 3].map(async (n) => (await beginUpload(`open/${n}`)).UploadId))
    const again = (await beginUpload('open/2')).UploadId
    const seen: (string | undefined)[] = []
    let markers: { KeyMarker?: string | undefined; UploadIdMarker?: string | undefined } = {}
    for (let page = 0; page < 4; page++) {
      const command = { Bucket, Prefix: 'open/', MaxUploads: 1, ...markers }
      const answer = await client.send(new S3.ListMultipartUploadsCommand(command))
      seen.push(...(answer.Uploads ?? []).map((upload) => upload.UploadId))
      expect(answer.IsTruncated).toBe(page < 3)
      markers = { KeyMarker: answer.NextKeyMarker, UploadIdMarker: answer.NextUploadIdMarker }
    }
    expect(seen).toEqual([ids[0], ids[1], again, ids[2]])
    for (const { key: Key, uploadId: UploadId } of await store.openUploads(Bucket)) {
      await client.send(new S3.AbortMultipartUploadCommand({ Bucket, Key, UploadId }))
    }
    expect(await store.openUploads(Bucket)).toEqual([])
  })
})

describe('conditions', () => {
  test('of eight writers with If-None-Match: * exactly one wins, and it is its content that stays', async () => {
    const tries = Array.from({ length: 8 }, async (_, n) => await put('race', `writer ${n}`, { IfNoneMatch: '*' }))
    const results = await Promise.allSettled(tries)
    const winner = results.findIndex((result) => result.status === 'fulfilled')
    expect(results.filter((result) => result.status === 'fulfilled')).toHaveLength(1)
    expect((await store.read(Bucket, 'race')).toString()).toBe(`writer ${winner}`)
    expect(await refusal(put('race', 'late', { IfNoneMatch: '*' }))).toEqual({
      status: 412,
      code: 'PreconditionFailed',
    })
  })

  test('If-None-Match: * holds for completing an upload too, and If-Match for a put', async () => {
    const { ETag } = await put('conditional', 'one')
    const upload = await beginUpload('conditional')
    const part = await upload.part(1, Buffer.from('two'))
    expect(await refusal(upload.complete([part], { IfNoneMatch: '*' }))).toMatchObject({ status: 412 })
    await upload.complete([part])
    expect(await refusal(put('conditional', 'three', { IfMatch: ETag }))).toMatchObject({ status: 412 })
    expect((await store.read(Bucket, 'conditional')).toString()).toBe('two')
  })
})

describe('listing', () => {
  test('1,050 keys come as pages of 1,000 and 50, in order, and one DeleteObjects takes 1,000 of them', async () => {
    const keys = Array.from({ length: 1050 }, (_, n) => `many/${String(n).padStart(4, '0')}`)
    for (let at = 0; at < keys.length; at += 25) {
      await Promise.all(keys.slice(at, at + 25).map(async (key) => await put(key, 'x')))
    }
    const first = await client.send(new S3.ListObjectsV2Command({ Bucket, Prefix: 'many/' }))
    expect([first.IsTruncated, first.Contents?.length]).toEqual([true, 1000])
    const ContinuationToken = first.NextContinuationToken
    const rest = await client.send(new S3.ListObjectsV2Command({ Bucket, Prefix: 'many/', ContinuationToken }))
    const listed = [...(first.Contents ?? []), ...(rest.Contents ?? [])].map((object) => object.Key)
    expect([rest.IsTruncated, listed]).toEqual([false, keys])
    const Delete = { Quiet: true, Objects: keys.slice(0, 1000).map((Key) => ({ Key })) }
    await client.send(new S3.DeleteObjectsCommand({ Bucket, Delete }))
    expect(await store.keys(Bucket, 'many/')).toEqual(keys.slice(1000))
  })

  test('keys that are folders of others coexist, and the order is that of UTF-8 bytes', async () => {
    const keys = ['n/a', 'n/a-b', 'n/a/', 'n/a/b', 'n/a0', 'n/aB', 'n/a b+%25&<"ü', 'n/\uffee', 'n/\u{1f600}']
    for (const key of keys) await put(key, key)
    const ordered = keys.toSorted((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b)))
    const answer = await client.send(new S3.ListObjectsV2Command({ Bucket, Prefix: 'n/' }))
    expect(answer.Contents?.map((object) => object.Key)).toEqual(ordered)
    for (const key of keys) expect((await get(key)).bytes.toString()).toBe(key)
  })

  test('a delimiter rolls keys up, also when pages end on a common prefix', async () => {
    for (const key of ['d/a/1', 'd/a/2', 'd/b', 'd/c/1', 'd/c/2', 'd/d']) await put(key, 'x')
    const seen: (string | undefined)[] = []
    let ContinuationToken: string | undefined
    for (let page = 0; page < 4; page++) {
      const command = { Bucket, Prefix: 'd/', Delimiter: '/', MaxKeys: 1, ContinuationToken }
      const answer = await client.send(new S3.ListObjectsV2Command(command))
      seen.push(...(answer.CommonPrefixes ?? []).map((common) => common.Prefix))
      seen.push(...(answer.Contents ?? []).map((object) => object.Key))
      ContinuationToken = answer.NextContinuationToken
    }
    expect([seen, ContinuationToken]).toEqual([['d/a/', 'd/b', 'd/c/', 'd/d'], undefined])
  })
})

describe('for fault tests', () => {
  test('a flipped byte and a truncated object are served as they are, under their old ETag', async () => {
    const upload = await beginUpload('rotten')
    const part = await upload.part(1, Buffer.alloc(5 * MIB))
    await upload.complete([part, await upload.part(2, Buffer.alloc(10))])
    const { ETag } = await client.send(new S3.HeadObjectCommand({ Bucket, Key: 'rotten' }))
    await store.flipByte(Bucket, 'rotten', 5 * MIB + 3)
    const flipped = await get('rotten')
    expect([flipped.bytes[5 * MIB + 3], flipped.bytes[5 * MIB + 2], flipped.ETag]).toEqual([1, 0, ETag])
    await store.truncate(Bucket, 'rotten', 5 * MIB - 1)
    const short = await get('rotten')
    expect([short.bytes.length, short.ETag]).toEqual([5 * MIB - 1, ETag])
  })

  test('a store that made its data folder removes it on close, in the middle of an upload too', async () => {
    const other = await startObjectStore()
    await other.createBucket(Bucket)
    using stuck = withDispose(connect(other, { requestChecksumCalculation: 'WHEN_REQUIRED' }))
    const half = new Readable({ read() {} })
    half.push(Buffer.alloc(100_000))
    const command = new S3.PutObjectCommand({ Bucket, Key: 'half', Body: half, ContentLength: 1_000_000 })
    setTimeout(() => void other.close(), 200)
    await expect(stuck.client.send(command)).rejects.toThrow(/ECONNRESET|socket hang up|EPIPE/)
    await other.close()
    expect(existsSync(other.dataDir)).toBe(false)
  })
})

function withDispose(client: ReturnType<typeof connect>) {
  return { client, [Symbol.dispose]: () => client.destroy() }
}
