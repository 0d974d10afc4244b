import { createHash, randomBytes } from 'node:crypto'
import { Readable } from 'node:stream'
import { buffer, text } from 'node:stream/consumers'
import { CreateMultipartUploadCommand, HeadObjectCommand } from '@aws-sdk/client-s3'
import { startChaosProxy, type ChaosProxy } from '@multiboard-sync/shared/testing/chaos-proxy'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { openArchive } from '../src/archive/archive-reader.ts'
import { listArchives } from '../src/archive/catalogue.ts'
import { openObjectStore, type ObjectStore, type StoreConfig } from '../src/archive/object-store.ts'
import { verifyArchive } from '../src/archive/verify-archive.ts'
import { openAnotherStore, type AnotherStore } from './archive/another-store.ts'
import { ID, SAMPLES, SQL, column, deadline, makeSigner, writeSamples, writer } from './archive/setup.ts'
import type { ArchiveBench } from './archive/setup.ts'
import { readCopied } from './road/compare-databases.ts'
import { syncHere } from './road/values-job.ts'
import { openWorld } from './road/world.ts'

/*
 * The agent's S3 code against a server that others wrote: what S3_TEST_ENDPOINT names, otherwise OpenStack Swift. What is
 * stored is looked at through a second client with the SDK's defaults. Results by server: docs/S3-PROVIDERS.md.
 */

const MiB = 1024 * 1024
/** What is being sent cannot all be under way already when the connection is cut. */
const LARGER_THAN_BUFFERS = 32 * MiB
/** The first run on a machine fetches Swift. */
const START_TIMEOUT_MS = 240_000

const SMALL_DATABASE = `
create table "Component" (id bigserial primary key, name text not null, price numeric, created_at timestamptz default now());
create table "File" (id int generated always as identity primary key, component_id bigint references "Component", data bytea);
create index on "Component" (name);
insert into "Component" (name, price) select 'part ' || n, n * 1.5 from generate_series(1, 1000) n;
insert into "File" (component_id, data) select n, decode(md5(n::text), 'hex') from generate_series(1, 500) n;`

describe("an S3 server that is not the project's own", () => {
  let another: AnotherStore
  let bench: ArchiveBench
  let why: string | undefined

  beforeAll(async () => {
    const opened = await openAnotherStore()
    if (typeof opened === 'string') {
      why = opened
      process.stderr.write(`swift.test.ts is skipped. ${why}\n`)
      return
    }
    another = opened
    const config = { ...another.server, bucket: another.bucket, prefix: another.prefix, forcePathStyle: true }
    bench = { config, store: openObjectStore(config), ...(await makeSigner()) }
  }, START_TIMEOUT_MS)
  beforeEach(({ skip }) => skip(why !== undefined, why))
  afterAll(async () => {
    if (why !== undefined) return
    await bench?.store[Symbol.asyncDispose]()
    await another?.[Symbol.asyncDispose]()
  })

  const deps = (prefix: string) => ({ store: bench.store, prefix, trust: bench.trust })
  /** A prefix of its own for a test that looks at everything below it. */
  const below = (name: string): ArchiveBench => ({
    ...bench,
    config: { ...bench.config, prefix: `${another.prefix}/${name}` },
  })
  const key = (name: string) => `${another.prefix}/${name}`
  const put = () => ({ expectedBytes: 1, signal: deadline() })

  it('lets doctor try every right of a whole key, tells its time, and keeps nothing open', async () => {
    const { config, store } = below('probed')
    const found = await store.probe(`${config.prefix}/doctor/probe.txt`, 'some text', deadline())
    expect(found.missing).toEqual([])
    expect(Math.abs(found.skewMs ?? Number.NaN)).toBeLessThan(60_000)
    expect(await store.openUploads(config.prefix, deadline())).toEqual([])
    const stranger = openObjectStore({ ...config, secretAccessKey: 'not the secret of this key' })
    await expect(stranger.probe(`${config.prefix}/doctor/probe.txt`, 'text', deadline())).rejects.toMatchObject({
      code: 'storage-auth',
    })
    await stranger[Symbol.asyncDispose]()
  })

  it('keeps an archive whose tables have names that nobody should use', async () => {
    const place = below('team a/parts')
    const written = await writeSamples(place)
    const archive = await openArchive(deps(place.config.prefix), ID, deadline())
    expect(archive.summary).toEqual(written.summary)
    for (const [name, sql] of Object.entries(SQL)) expect(await archive.readSql(name)).toBe(sql)
    for (const { schema, name, parts } of SAMPLES) {
      const table = archive.manifest.tables.find((one) => one.schema === schema && one.name === name)
      const read = (table?.parts ?? []).map(
        async (part) => await text(await archive.readRows(table!, part, deadline())),
      )
      expect(await Promise.all(read)).toEqual(parts)
    }
    const { manifest } = written
    const folder = `${place.config.prefix}/archives/${ID}/`
    const named = [...manifest.objects, ...manifest.tables.flatMap(({ parts }) => parts)]
    const others = ['manifest.json', 'manifest.json.jws']
    expect(await another.keys(folder)).toEqual(
      [...named.map((one) => one.key), ...others].toSorted().map((one) => folder + one),
    )
    for (const object of named) {
      const stored = await another.read(folder + object.key)
      expect(createHash('sha256').update(stored).digest('hex')).toBe(object.sha256)
    }
  })

  it('does not get a second archive of the same name', async () => {
    const twice = below('twice')
    await writeSamples(twice)
    await expect(writeSamples(twice)).rejects.toMatchObject({ code: 'storage-failed', retryable: false })
    await expect(openArchive(deps(twice.config.prefix), ID, deadline())).resolves.toMatchObject({ summary: { id: ID } })
  })

  it('gets the manifest also where it does not know conditional puts', async () => {
    const conditional = async (name: string) => await another.write(key(name), Buffer.from('a'), { IfNoneMatch: '*' })
    const status = await conditional('conditional').then(
      () => 200,
      (error: { $metadata?: { httpStatusCode?: number } }) => error.$metadata?.httpStatusCode,
    )
    expect(another.isSwift ? [501] : [200, 501]).toContain(status)
    const once = { signal: deadline(), onlyIfAbsent: true }
    await bench.store.putText(key('once'), 'a', once)
    await bench.store.putText(key('once'), 'a', once)
    expect((await another.read(key('once'))).toString()).toBe('a')
  })

  it('keeps 40 MiB sent in parts as one object, byte for byte', async () => {
    const content = randomBytes(40 * MiB)
    const uploads: string[] = []
    const stored = await bench.store.putStream(key('large'), pieces(content), {
      ...put(),
      onUpload: (uploadId) => uploads.push(uploadId),
    })
    expect(stored).toEqual({ bytes: content.length, sha256: createHash('sha256').update(content).digest('hex') })
    expect(uploads).toHaveLength(1)
    expect((await another.read(key('large'))).equals(content)).toBe(true)
    const { ETag } = await another.client.send(new HeadObjectCommand({ Bucket: another.bucket, Key: key('large') }))
    expect(ETag).toMatch(/-\d+"$/)
    expect(await another.openUploads()).toEqual([])
  })

  it('is left without an open upload when the rows break off or the job is canceled', async () => {
    const broken = new Error('source broke')
    const canceled = new Error('canceled')
    const stop = new AbortController()
    const uploads: string[] = []
    const archive = writer(below('broken'), ID, 'export', ({ uploadId }) => uploads.push(uploadId))
    const options = { columns: [column('x')], expectedBytes: 1, signal: deadline() }
    const noise = randomBytes(24 * MiB)
    const failing = pieces(noise, (sent) => {
      if (sent > 18 * MiB) throw broken
    })
    const stopping = pieces(noise, (sent) => {
      if (sent > 18 * MiB) stop.abort(canceled)
    })
    const table = { schema: 'public', name: 'Component' }
    await expect(archive.putPart(table, 0, failing, options)).rejects.toBe(broken)
    await expect(archive.putPart(table, 1, stopping, { ...options, signal: stop.signal })).rejects.toBe(canceled)
    expect(uploads).toHaveLength(2)
    expect(await another.openUploads()).toEqual([])
    expect(await another.keys(archive.folder)).toEqual([])
  })

  it('has its open uploads aborted, those told of and those found, below the prefix only', async () => {
    const start = async (name: string) => {
      const command = new CreateMultipartUploadCommand({ Bucket: another.bucket, Key: key(name) })
      return { key: key(name), uploadId: (await another.client.send(command)).UploadId ?? '' }
    }
    const known = await start('mine/1')
    await start('mine/2 ü%')
    const others = await start('others/1')
    expect(await bench.store.abortUploads(key('mine/'), [known], deadline())).toBe(2)
    expect(await bench.store.abortUploads(key('mine/'), [known], deadline())).toBe(0)
    expect(await another.openUploads()).toEqual([others.key])
    expect(await bench.store.abortUploads(key('others/'), [], deadline())).toBe(1)
    expect(await another.openUploads()).toEqual([])
  })

  it('is read on from the byte where a connection broke', async ({ skip }) => {
    skip(another.server.endpoint.startsWith('https:'), 'A proxy cannot speak for a server with TLS.')
    const content = randomBytes(LARGER_THAN_BUFFERS)
    await another.write(key('download'), content)
    await using line = await badLine(bench.config)
    let ranged = 0
    line.proxy.rewrite((bytes) => {
      if (bytes.includes('HTTP/1.1 206')) ranged += 1
      return bytes
    })
    const chunks: Buffer[] = []
    let seen = 0
    for await (const chunk of (await line.store.get(key('download'), {
      signal: deadline(),
    })) as AsyncIterable<Buffer>) {
      if (seen < 2 * MiB && seen + chunk.length >= 2 * MiB) line.proxy.cutAll()
      chunks.push(chunk)
      seen += chunk.length
    }
    expect(Buffer.concat(chunks).equals(content)).toBe(true)
    expect(ranged).toBe(1)
  })

  it('never gives a mixture of two objects when one is replaced while it is read', async ({ skip }) => {
    skip(another.server.endpoint.startsWith('https:'), 'A proxy cannot speak for a server with TLS.')
    const content = randomBytes(LARGER_THAN_BUFFERS)
    await another.write(key('replaced'), content)
    await using line = await badLine(bench.config)
    const stream = await line.store.get(key('replaced'), { signal: deadline() })
    await another.write(key('replaced'), Buffer.from(content).reverse())
    line.proxy.cutAll()
    await expect(buffer(stream)).rejects.toMatchObject({ code: 'archive-damaged' })
  })

  it('gets the parts again that a breaking connection lost', async ({ skip }) => {
    skip(another.server.endpoint.startsWith('https:'), 'A proxy cannot speak for a server with TLS.')
    const content = randomBytes(16 * MiB)
    await using line = await badLine(bench.config)
    line.proxy.cutAfterBytes(7 * MiB, 'toServer')
    await line.store.putStream(key('broken-up'), pieces(content), put())
    expect((await another.read(key('broken-up'))).equals(content)).toBe(true)
    expect(await another.openUploads()).toEqual([])
  })

  const wrong: [string, string, (config: StoreConfig) => Partial<StoreConfig>][] = [
    ['an unknown key', 'storage-auth', ({ accessKeyId }) => ({ accessKeyId: `${accessKeyId}x` })],
    ['a wrong secret', 'storage-auth', () => ({ secretAccessKey: 'wrong-secret-wrong-secret' })],
    ['a bucket that does not exist', 'bucket-missing', () => ({ bucket: `none-${randomBytes(6).toString('hex')}` })],
  ]
  it.each(wrong)('answers %s so that the agent says %s', async (_what, code, change) => {
    await using store = openObjectStore({ ...bench.config, ...change(bench.config) })
    const tries = [
      store.check(deadline()),
      store.getText(key('x'), { signal: deadline(), maxBytes: 10 }),
      store.putText(key('x'), 'y', { signal: deadline() }),
      store.putText(key('x'), 'y', { signal: deadline(), onlyIfAbsent: true }),
      store.putStream(key('x'), Readable.from([Buffer.from('y')]), put()),
      store.putStream(key('x'), pieces(randomBytes(6 * MiB)), put()),
      Array.fromAsync(store.list(another.prefix, deadline())),
    ]
    for (const result of await Promise.allSettled(tries)) {
      expect(result.status === 'rejected' ? result.reason : 'no error').toMatchObject({ code, retryable: false })
    }
    await expect(bench.store.check(deadline())).resolves.toBeUndefined()
  })

  it('lists objects and folders over several pages, in the order of their bytes', async () => {
    const names = [...Array.from({ length: 21 }, (_, n) => `a-${n}`), 'a/1', 'a0', 'b +%&?#ü/1', 'c/', 'é', '界/x/y']
    await Promise.all(names.map(async (name) => await another.write(key(`list/${name}`), Buffer.from(name))))
    const found = await Array.fromAsync(bench.store.list(key('list/'), deadline()))
    const sorted = names.toSorted((a, b) => Buffer.from(a).compare(Buffer.from(b)))
    expect(found).toEqual(sorted.map((name) => ({ key: key(`list/${name}`), bytes: Buffer.byteLength(name) })))
    expect((await bench.store.listFolders(key('list/'), deadline())).toSorted()).toEqual(['a', 'b +%&?#ü', 'c', '界'])
    for (const { key: one, bytes } of found) expect(await bench.store.head(one, deadline())).toEqual({ bytes })
    expect(await bench.store.head(key('list/none'), deadline())).toBeUndefined()
  })

  it('gives the list of its archives from the bucket alone, with what they lack', async () => {
    const place = below('catalogue')
    const backup = '20261123T080312Z-production-aaaa'
    const unfinished = '20261124T080312Z-production-bbbb'
    const { prefix } = place.config
    const written = await writeSamples(place)
    await writeSamples(place, backup, 'safety-backup')
    await another.write(`${prefix}/archives/${unfinished}/000-pre-data.sql.gz`, Buffer.from('x'))
    await another.remove(`${prefix}/backups/${backup}/100-data/a%2Eb.c/00000.sql.gz`)
    const found = await Array.fromAsync(listArchives(deps(prefix), deadline()))
    expect(found.map(({ id, kind, missing }) => ({ id, kind, missing }))).toEqual([
      { id: backup, kind: 'safety-backup', missing: ['100-data/a%2Eb.c/00000.sql.gz'] },
      { id: ID, kind: 'export', missing: [] },
    ])
    expect(found[1]).toEqual(written.summary)
    for (const [id, code] of [
      [backup, 'archive-incomplete'],
      [unfinished, 'archive-incomplete'],
      ['20261125T080312Z-production-cccc', 'archive-unknown'],
    ] as const) {
      await expect(openArchive(deps(prefix), id, deadline())).rejects.toMatchObject({ code })
    }
  })

  it('is not believed when a bit of an object has flipped', async () => {
    const place = below('flipped')
    await writeSamples(place)
    const part = `${place.config.prefix}/archives/${ID}/100-data/public.Component/00000.sql.gz`
    const bytes = await another.read(part)
    bytes[bytes.length >> 1]! ^= 1
    await another.write(part, bytes)
    const archive = await openArchive(deps(place.config.prefix), ID, deadline())
    await expect(verifyArchive(archive, deadline())).rejects.toMatchObject({ code: 'archive-damaged' })
  })

  it('carries a whole sync, first into an empty database and then over its tables', async () => {
    const prefix = `${another.prefix}/sync`
    const storage = { ...another.server, bucket: another.bucket, prefix }
    await using world = await openWorld({ source: { sql: SMALL_DATABASE }, storage })
    const expected = await readCopied(world.source.url)
    await syncHere(world)
    expect(await readCopied(world.target.url)).toEqual(expected)
    const client = await world.source.client()
    await client.query('update "Component" set price = price + 1 where id % 3 = 0')
    const changed = await readCopied(world.source.url)
    await syncHere(world)
    expect(await readCopied(world.target.url)).toEqual(changed)
    expect(changed).not.toEqual(expected)

    const manifests = (await another.keys(`${prefix}/`)).filter((one) => one.endsWith('/manifest.json'))
    const kinds = manifests.map((one) => one.slice(prefix.length + 1).split('/')[0])
    // Two exports, and the safety backup of the tables that the second sync replaced.
    expect(kinds).toEqual(['archives', 'archives', 'backups'])
    expect(await world.store.keys(world.bucket)).toEqual([])
    expect(await another.openUploads()).toEqual([])
  })
})

function pieces(content: Buffer, onSent?: (bytes: number) => void): Readable {
  function* cut(): Generator<Buffer> {
    for (let at = 0; at < content.length; at += 65_536) {
      yield content.subarray(at, at + 65_536)
      onSent?.(at)
    }
  }
  return Readable.from(cut(), { objectMode: false })
}

/** The store behind a proxy that can break the connection. */
async function badLine(config: StoreConfig): Promise<AsyncDisposable & { proxy: ChaosProxy; store: ObjectStore }> {
  await using made = new AsyncDisposableStack()
  const endpoint = config.endpoint ?? ''
  const { hostname, port } = new URL(endpoint)
  const proxy = made.use(await startChaosProxy({ target: { host: hostname, port: Number(port || 80) } }))
  const store = made.use(openObjectStore({ ...config, endpoint: proxy.url(endpoint) }))
  const owned = made.move()
  return { proxy, store, [Symbol.asyncDispose]: async () => await owned.disposeAsync() }
}
