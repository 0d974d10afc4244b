import { createHash, randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { createServer } from 'node:http'
import { Readable } from 'node:stream'
import { buffer } from 'node:stream/consumers'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { startChaosProxy } from '@multiboard-sync/shared/testing/chaos-proxy'
import { openObjectStore, type StoreConfig } from '../src/archive/object-store.ts'
import { BUCKET, PREFIX, column, deadline, startBench, writer, type Bench } from './archive/setup.ts'

const MiB = 1024 * 1024

/** Pieces as they come from a database's socket; `failAt` bytes in, it breaks. */
function source(bytes: number, options: { failAt?: number; error?: Error } = {}): Readable {
  const half = Buffer.from(randomBytes(16_000).toString('hex'))
  const line = Buffer.concat([half, Buffer.alloc(32_000, 'a plate; '), Buffer.from('\n')])
  function* pieces(): Generator<Buffer> {
    for (let done = 0; done < bytes; done += line.length) {
      if (options.failAt !== undefined && done >= options.failAt) throw options.error ?? new Error('source broke')
      yield line
    }
  }
  return Readable.from(pieces(), { objectMode: false })
}

describe('the object store', () => {
  let bench: Bench
  beforeAll(async () => {
    bench = await startBench()
  })
  afterAll(async () => await bench[Symbol.asyncDispose]())

  const table = { schema: 'public', name: 'Component' }
  const part = (signal = deadline()) => ({ columns: [column('x')], expectedBytes: 20 * MiB, signal })

  describe('says what is wrong', () => {
    const cases: [string, string, Partial<StoreConfig>][] = [
      ['a bucket that does not exist', 'bucket-missing', { bucket: 'nowhere' }],
      ['a wrong secret', 'storage-auth', { secretAccessKey: 'wrong-secret-wrong-secret' }],
      ['an unknown key', 'storage-auth', { accessKeyId: 'unknown-key-id' }],
      ['a port where nobody listens', 'storage-unreachable', { endpoint: 'http://127.0.0.1:9' }],
      ['a host that does not exist', 'storage-unreachable', { endpoint: 'http://store.invalid' }],
    ]
    it.each(cases)('%s is %s', async (_what, code, change) => {
      const config = { ...bench.config, ...change }
      await using store = openObjectStore(config)
      const tries = [
        store.check(deadline()),
        store.getText('x', { signal: deadline(), maxBytes: 10 }),
        store.putText('x', 'y', { signal: deadline() }),
        store.putStream('x', Readable.from([Buffer.from('y')]), { expectedBytes: 1, signal: deadline() }),
        Array.fromAsync(store.list('', deadline())),
      ]
      for (const result of await Promise.allSettled(tries)) {
        const error: unknown = result.status === 'rejected' ? result.reason : undefined
        expect(error).toMatchObject({ code, retryable: code === 'storage-unreachable' })
        const told = JSON.stringify([(error as Error).message, (error as { hint: string }).hint])
        for (const secret of [config.secretAccessKey, config.accessKeyId, config.endpoint ?? '-']) {
          expect(told).not.toContain(secret)
        }
      }
    })

    it('and nothing when all is well', async () => {
      await expect(bench.store.check(deadline())).resolves.toBeUndefined()
    })
  })

  it('stops waiting when the signal says so, and throws its reason', async () => {
    await using proxy = await startChaosProxy({ target: address(bench.server.endpoint) })
    await using store = openObjectStore({ ...bench.config, endpoint: proxy.url(bench.server.endpoint) })
    proxy.blackhole()
    const reason = new Error('enough')
    const stop = new AbortController()
    const tries = [
      store.check(stop.signal),
      store.getText('x', { signal: stop.signal, maxBytes: 10 }),
      store.putText('x', 'y', { signal: stop.signal }),
      store.putStream('x', Readable.from([Buffer.from('y')]), { expectedBytes: 1, signal: stop.signal }),
    ]
    setTimeout(() => stop.abort(reason), 100)
    for (const result of await Promise.allSettled(tries)) expect(result).toEqual({ status: 'rejected', reason })
    await proxy.resume()
  })

  it('aborts the upload when the rows break off, and passes their error on as it is', async () => {
    const uploads: string[] = []
    const archive = writer(bench, '20261122T080312Z-production-0001', 'export', ({ uploadId }) =>
      uploads.push(uploadId),
    )
    const error = new Error('source broke')
    const rows = source(60 * MiB, { failAt: 50 * MiB, error })
    await expect(archive.putPart(table, 0, rows, part())).rejects.toBe(error)
    expect(uploads).toHaveLength(1)
    expect(await bench.server.openUploads(BUCKET)).toEqual([])
    expect(await bench.server.keys(BUCKET, archive.folder)).toEqual([])
  })

  it('aborts the upload and destroys the rows when the signal says so', async () => {
    const archive = writer(bench, '20261122T080312Z-production-0002')
    const stop = new AbortController()
    const reason = new Error('canceled')
    const rows = source(600 * MiB)
    const options = { ...part(stop.signal), onBytes: countdown(40 * MiB, () => stop.abort(reason)) }
    await expect(archive.putPart(table, 0, rows, options)).rejects.toBe(reason)
    expect(rows.destroyed).toBe(true)
    expect(await bench.server.openUploads(BUCKET)).toEqual([])
  })

  it('destroys the rows at once when the store refuses, however many more there are', async () => {
    await using store = openObjectStore({ ...bench.config, bucket: 'nowhere' })
    let read = 0
    const rows = source(2000 * MiB).on('data', (chunk: Buffer) => (read += chunk.length))
    await expect(store.putStream('x', rows, { expectedBytes: 1, signal: deadline() })).rejects.toMatchObject({
      code: 'bucket-missing',
    })
    expect(rows.destroyed).toBe(true)
    expect(read).toBeLessThan(200 * MiB)
  })

  it('uploads through a connection that breaks now and then', async () => {
    await using proxy = await startChaosProxy({ target: address(bench.server.endpoint) })
    await using store = openObjectStore({ ...bench.config, endpoint: proxy.url(bench.server.endpoint) })
    const content = randomBytes(30 * MiB)
    proxy.cutAfterBytes(12 * MiB, 'toServer')
    const stored = await store.putStream(`${PREFIX}/broken-up`, pieces(content), {
      expectedBytes: 1,
      signal: deadline(),
    })
    expect(stored).toEqual({ bytes: content.length, sha256: createHash('sha256').update(content).digest('hex') })
    expect((await bench.server.read(BUCKET, `${PREFIX}/broken-up`)).equals(content)).toBe(true)
  })

  it('uploads through an outage of a few seconds', async () => {
    await using proxy = await startChaosProxy({ target: address(bench.server.endpoint) })
    await using store = openObjectStore({ ...bench.config, endpoint: proxy.url(bench.server.endpoint) })
    const content = randomBytes(30 * MiB)
    let back: Promise<void> | undefined
    const body = pieces(content, (sent) => {
      if (back || sent < 20 * MiB) return
      proxy.refuse()
      proxy.cutAll()
      back = sleep(4000).then(async () => await proxy.resume())
    })
    const stored = await store.putStream(`${PREFIX}/outage`, body, { expectedBytes: 1, signal: deadline() })
    await back
    expect(stored.sha256).toBe(createHash('sha256').update(content).digest('hex'))
    expect((await bench.server.read(BUCKET, `${PREFIX}/outage`)).equals(content)).toBe(true)
  })

  describe('reading over a bad line', () => {
    const key = `${PREFIX}/download`
    const content = randomBytes(32 * MiB)
    beforeAll(async () => await bench.store.putText(key, content, { signal: deadline() }))

    it('goes on where the connection broke', async () => {
      await using proxy = await startChaosProxy({ target: address(bench.server.endpoint) })
      await using store = openObjectStore({ ...bench.config, endpoint: proxy.url(bench.server.endpoint) })
      proxy.cutAfterBytes(3 * MiB, 'toClient')
      let seen = 0
      const chunks: Buffer[] = []
      for await (const chunk of (await store.get(key, { signal: deadline() })) as AsyncIterable<Buffer>) {
        chunks.push(chunk)
        seen += chunk.length
        if (seen > 5 * MiB && seen < 5.2 * MiB) proxy.cutAll()
      }
      expect(Buffer.concat(chunks).equals(content)).toBe(true)
      // Had it begun anew, the whole object would have come twice.
      expect(proxy.bytes.toClient).toBeLessThan(content.length * 1.6)
    })

    it('gives up when nothing comes any more', async () => {
      await using proxy = await startChaosProxy({ target: address(bench.server.endpoint) })
      await using store = openObjectStore({ ...bench.config, endpoint: proxy.url(bench.server.endpoint) })
      const stream = await store.get(key, { signal: deadline() })
      proxy.refuse()
      proxy.cutAll()
      await expect(buffer(stream)).rejects.toMatchObject({ code: 'storage-unreachable', retryable: true })
    })

    it('does not mix two objects when one is replaced in between', async () => {
      await using proxy = await startChaosProxy({ target: address(bench.server.endpoint) })
      await using store = openObjectStore({ ...bench.config, endpoint: proxy.url(bench.server.endpoint) })
      const other = `${PREFIX}/replaced`
      await bench.store.putText(other, content, { signal: deadline() })
      const stream = await store.get(other, { signal: deadline() })
      await bench.store.putText(other, Buffer.from(content).reverse(), { signal: deadline() })
      proxy.cutAll()
      await expect(buffer(stream)).rejects.toMatchObject({ code: 'archive-damaged' })
    })

    it('ends the request when the reader goes away', async () => {
      await using proxy = await startChaosProxy({ target: address(bench.server.endpoint) })
      await using store = openObjectStore({ ...bench.config, endpoint: proxy.url(bench.server.endpoint) })
      const stream = await store.get(key, { signal: deadline() })
      stream.destroy()
      for (let waited = 0; proxy.open > 0 && waited < 5000; waited += 50) await sleep(50)
      expect(proxy.open).toBe(0)
    })

    it('refuses an object of another size before reading it', async () => {
      const options = { signal: deadline(), expectedBytes: 5 }
      await expect(bench.store.get(key, options)).rejects.toMatchObject({ code: 'archive-damaged' })
      await expect(bench.store.getText(key, { signal: deadline(), maxBytes: 100 })).rejects.toMatchObject({
        code: 'archive-damaged',
      })
    })
  })

  it('aborts the uploads it is told of and those that it finds, below the prefix only', async () => {
    const { S3Client, CreateMultipartUploadCommand } = await import('@aws-sdk/client-s3')
    const { endpoint, region, accessKeyId, secretAccessKey } = bench.server
    const client = new S3Client({
      endpoint,
      region,
      credentials: { accessKeyId, secretAccessKey },
      forcePathStyle: true,
    })
    const start = async (Key: string) => {
      const { UploadId } = await client.send(new CreateMultipartUploadCommand({ Bucket: BUCKET, Key }))
      return { key: Key, uploadId: UploadId ?? '' }
    }
    const known = await start('mine/1')
    await start('mine/2')
    const others = await start('others/1')
    expect(await bench.store.abortUploads('mine/', [known], deadline())).toBe(2)
    expect(await bench.store.abortUploads('mine/', [known], deadline())).toBe(0)
    expect(await bench.server.openUploads(BUCKET)).toEqual([others])
    expect(await bench.store.abortUploads('others/', [], deadline())).toBe(1)
    client.destroy()
  })

  it('puts a thing only if it is absent, and takes a repetition of the same for success', async () => {
    const options = { signal: deadline(), onlyIfAbsent: true }
    await bench.store.putText('once', 'a', options)
    await bench.store.putText('once', 'a', options)
    await expect(bench.store.putText('once', 'b', options)).rejects.toMatchObject({ code: 'storage-failed' })
    expect((await bench.server.read(BUCKET, 'once')).toString()).toBe('a')
  })

  it('lists more objects than fit on a page, and the folders', async () => {
    await using pages = await startPages([
      '<Contents><Key>a/1</Key><Size>5</Size></Contents><CommonPrefixes><Prefix>a/x/</Prefix></CommonPrefixes>',
      '',
      '<Contents><Key>a/2</Key><Size>6</Size></Contents><CommonPrefixes><Prefix>a/y/</Prefix></CommonPrefixes>',
    ])
    await using store = openObjectStore({ ...bench.config, endpoint: pages.endpoint })
    expect(await Array.fromAsync(store.list('a/', deadline()))).toEqual([
      { key: 'a/1', bytes: 5 },
      { key: 'a/2', bytes: 6 },
    ])
    expect(await store.listFolders('a/', deadline())).toEqual(['x', 'y'])
  })
})

function address(endpoint: string): { host: string; port: number } {
  const { hostname, port } = new URL(endpoint)
  return { host: hostname, port: Number(port) }
}

function pieces(content: Buffer, onSent?: (bytes: number) => void): Readable {
  function* cut(): Generator<Buffer> {
    for (let at = 0; at < content.length; at += 65_536) {
      yield content.subarray(at, at + 65_536)
      onSent?.(at)
    }
  }
  return Readable.from(cut(), { objectMode: false })
}

function countdown(bytes: number, then: () => void): (rawBytes: number) => void {
  let left = bytes
  return (rawBytes) => {
    if (left > 0 && (left -= rawBytes) <= 0) then()
  }
}

/** A store that knows nothing but these pages of a listing; a thousand objects would take too long to make. */
async function startPages(pages: string[]): Promise<AsyncDisposable & { endpoint: string }> {
  const server = createServer((request, response) => {
    const token = new URL(request.url ?? '', 'http://x').searchParams.get('continuation-token')
    const n = Number(token ?? 0)
    const next = n + 1 < pages.length ? `<NextContinuationToken>${n + 1}</NextContinuationToken>` : ''
    const more = `<IsTruncated>${next !== ''}</IsTruncated>${next}`
    response.setHeader('content-type', 'application/xml')
    response.end(`<?xml version="1.0"?><ListBucketResult>${more}${pages[n]}</ListBucketResult>`)
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const bound = server.address()
  if (bound === null || typeof bound === 'string') throw new Error('The server listens on no port.')
  return {
    endpoint: `http://127.0.0.1:${bound.port}`,
    async [Symbol.asyncDispose]() {
      server.closeAllConnections()
      server.close()
    },
  }
}
