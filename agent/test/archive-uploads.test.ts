import { createHash, randomBytes } from 'node:crypto'
import { Readable } from 'node:stream'
import { buffer } from 'node:stream/consumers'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { startChaosProxy, type ChaosProxy } from '@multiboard-sync/shared/testing/chaos-proxy'
import { openObjectStore, type ObjectStore } from '../src/archive/object-store.ts'
import { BUCKET, PREFIX, deadline, startBench, type Bench } from './archive/setup.ts'

const MiB = 1024 * 1024

/** What becomes of an upload when answers are lost, a line is cut again and again, or goes silent. */

describe('an upload', () => {
  let bench: Bench
  beforeAll(async () => {
    bench = await startBench()
  })
  afterAll(async () => await bench[Symbol.asyncDispose]())

  const content = randomBytes(23 * MiB)
  const body = () => Readable.from(cut(content), { objectMode: false })
  function* cut(bytes: Buffer): Generator<Buffer> {
    for (let at = 0; at < bytes.length; at += 65_536) yield bytes.subarray(at, at + 65_536)
  }

  async function isStored(key: string, stored: { bytes: number; sha256: string }): Promise<void> {
    const sha256 = createHash('sha256').update(content).digest('hex')
    expect(stored).toEqual({ bytes: content.length, sha256 })
    expect((await bench.server.read(BUCKET, key)).equals(content)).toBe(true)
    expect(await bench.server.openUploads(BUCKET)).toEqual([])
  }

  /** A store behind a proxy that has been reached once. */
  async function through(stack: AsyncDisposableStack): Promise<{ proxy: ChaosProxy; store: ObjectStore }> {
    const { hostname, port } = new URL(bench.server.endpoint)
    const proxy = stack.use(await startChaosProxy({ target: { host: hostname, port: Number(port) } }))
    const store = stack.use(openObjectStore({ ...bench.config, endpoint: proxy.url(bench.server.endpoint) }))
    await store.check(deadline())
    return { proxy, store }
  }

  /** Cuts the line when the answer to such a request comes back for the first time: the store has done it, we do not know. */
  function loseAnswer(proxy: ChaosProxy, answer: RegExp): () => number {
    let lost = 0
    proxy.rewrite((bytes) => {
      if (lost > 0 || !answer.test(bytes.toString('latin1'))) return bytes
      lost += 1
      proxy.cutAll()
      return Buffer.alloc(0)
    })
    return () => lost
  }

  it('that is far larger than expected fits, in parts that grow', async () => {
    const key = `${PREFIX}/larger`
    const sizes: number[] = []
    const partBytes = (_expected: number, sent: number) => {
      sizes[sent] = sent < 2 ? 5 * MiB : 8 * MiB
      return sizes[sent] ?? 0
    }
    const stored = await bench.store.putStream(key, body(), { expectedBytes: 1, signal: deadline(), partBytes })
    await isStored(key, stored)
    // 5 + 5 + 8 + what is left, and the one that would follow.
    expect(sizes.map((bytes) => bytes / MiB)).toEqual([5, 5, 8, 8, 8])
  })

  it('of which the store has opened one more than we know leaves none open', async () => {
    await using stack = new AsyncDisposableStack()
    const { proxy, store } = await through(stack)
    const lost = loseAnswer(proxy, /InitiateMultipartUploadResult/)
    const told: string[] = []
    const key = `${PREFIX}/opened twice`
    const onUpload = (uploadId: string) => told.push(uploadId)
    const stored = await store.putStream(key, body(), { expectedBytes: 1, signal: deadline(), onUpload })
    expect(lost()).toBe(1)
    expect(told).toHaveLength(1)
    await isStored(key, stored)
  })

  it('that was completed without our hearing so is taken for complete', async () => {
    await using stack = new AsyncDisposableStack()
    const { proxy, store } = await through(stack)
    const lost = loseAnswer(proxy, /CompleteMultipartUploadResult/)
    const key = `${PREFIX}/completed`
    const stored = await store.putStream(key, body(), { expectedBytes: 1, signal: deadline() })
    expect(lost()).toBe(1)
    await isStored(key, stored)
  })

  it('that is gone and not complete fails, also when another object of its size is there', async () => {
    await using stack = new AsyncDisposableStack()
    const { proxy, store } = await through(stack)
    const key = `${PREFIX}/ended by others`
    await bench.store.putText(key, Buffer.from(content).reverse(), { signal: deadline() })
    let uploadId = ''
    const ended = async function* (): AsyncGenerator<Buffer> {
      yield* cut(content)
      await bench.store.abortUpload(key, uploadId, deadline())
    }
    const onUpload = (id: string) => (uploadId = id)
    const putting = store.putStream(key, Readable.from(ended(), { objectMode: false }), {
      expectedBytes: 1,
      signal: deadline(),
      onUpload,
    })
    await expect(putting).rejects.toMatchObject({ code: 'storage-failed' })
    expect(proxy.met.connections).toBeGreaterThan(0)
    expect(await bench.server.openUploads(BUCKET)).toEqual([])
  })

  it.each([1, 2, 3])(
    'over a line that cuts every connection after some megabytes arrives whole (seed %d)',
    async (seed) => {
      await using stack = new AsyncDisposableStack()
      const { proxy, store } = await through(stack)
      proxy.cuts({ seed, everyBytes: 12 * MiB, share: 0.3, withinBytes: MiB })
      proxy.cutAll()
      const key = `${PREFIX}/cut ${seed}`
      const stored = await store.putStream(key, body(), { expectedBytes: 1, signal: deadline() })
      const read = await buffer(await store.get(key, { signal: deadline() }))
      expect(read.equals(content)).toBe(true)
      expect(proxy.met.cut).toBeGreaterThan(1)
      proxy.cuts(undefined)
      await isStored(key, stored)
    },
  )

  it('small ones, heads and lists go through a store that restarts, and a store never seen is told at once', async () => {
    await using stack = new AsyncDisposableStack()
    const { proxy, store } = await through(stack)
    proxy.refuse()
    proxy.cutAll()
    const unseen = stack.use(openObjectStore({ ...bench.config, endpoint: proxy.url(bench.server.endpoint) }))
    const startedAt = performance.now()
    await expect(unseen.head('x', deadline())).rejects.toMatchObject({ code: 'storage-unreachable' })
    expect(performance.now() - startedAt).toBeLessThan(2500)
    const small = () => Readable.from([Buffer.from('1\tplate\n')], { objectMode: false })
    const key = `${PREFIX}/small`
    const work = Promise.all([
      store.putStream(key, small(), { expectedBytes: 1, signal: deadline() }),
      store.putText(`${PREFIX}/text`, 'text', { signal: deadline() }),
      store.head(`${PREFIX}/none`, deadline()),
      Array.fromAsync(store.list(PREFIX, deadline())),
    ])
    setTimeout(() => void proxy.resume(), 2_500)
    const [stored, , none] = await work
    expect(stored.bytes).toBe(8)
    expect(none).toBeUndefined()
  })

  it('a body that goes silent in its middle is read on over another connection', async () => {
    await using stack = new AsyncDisposableStack()
    const { proxy, store } = await through(stack)
    const key = `${PREFIX}/silent`
    await bench.store.putText(key, content, { signal: deadline() })
    const chunks: Buffer[] = []
    let read = 0
    for await (const chunk of (await store.get(key, {
      signal: deadline(),
      idleTimeoutMs: 300,
    })) as AsyncIterable<Buffer>) {
      if (read < 8 * MiB && read + chunk.length >= 8 * MiB) proxy.swallow()
      chunks.push(chunk)
      read += chunk.length
    }
    expect(Buffer.concat(chunks).equals(content)).toBe(true)
  })
})
