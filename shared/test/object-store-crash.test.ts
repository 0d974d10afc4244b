import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, readdir, rm } from 'node:fs/promises'
import { request } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { Readable } from 'node:stream'
import { fileURLToPath } from 'node:url'
import { expect, test } from 'vitest'
import { startObjectStore } from '../testing/object-store.ts'
import { connect, S3 } from './object-store-client.ts'

const MAIN = fileURLToPath(new URL('../testing/object-store-main.ts', import.meta.url))
const Bucket = 'kept'
const READY_DEADLINE_MS = 15_000

async function startProcess(dataDir: string) {
  const args = ['--data-dir', dataDir, '--access-key', 'key', '--secret-key', 'secret', '--bucket', Bucket]
  const child = spawn(process.execPath, [MAIN, ...args], { stdio: ['ignore', 'pipe', 'inherit'] })
  const signal = AbortSignal.timeout(READY_DEADLINE_MS)
  const [line] = await once(createInterface(child.stdout), 'line', { signal })
  const endpoint = /^READY (http:\/\/127\.0\.0\.1:\d+)$/.exec(String(line))?.[1]
  if (!endpoint) throw new Error(`The store did not say READY but: ${line}`)
  const end = async (kill: NodeJS.Signals) => {
    const exit = once(child, 'exit', { signal: AbortSignal.timeout(READY_DEADLINE_MS) })
    child.kill(kill)
    return await exit
  }
  return { endpoint, end }
}

test('a store killed with SIGKILL keeps its objects and open uploads, and drops what was half received', async () => {
  const dataDir = await mkdtemp(join(tmpdir(), 'object-store-crash-'))
  try {
    const server = await startProcess(dataDir)
    const overrides = { endpoint: server.endpoint, credentials: { accessKeyId: 'key', secretAccessKey: 'secret' } }
    const options = { dataDir, accessKeyId: 'key', secretAccessKey: 'secret' }
    const client = new S3.S3Client({ region: 'us-east-1', forcePathStyle: true, maxAttempts: 1, ...overrides })
    await client.send(new S3.PutObjectCommand({ Bucket, Key: 'table', Body: 'old', Metadata: { rows: '1' } }))
    const { UploadId } = await client.send(new S3.CreateMultipartUploadCommand({ Bucket, Key: 'table' }))
    const part = { Bucket, Key: 'table', UploadId, PartNumber: 4, Body: Buffer.alloc(6_000_000, 4) }
    const { ETag } = await client.send(new S3.UploadPartCommand(part))
    const half = new Readable({ read() {} })
    half.push(Buffer.alloc(100_000))
    const cut = client.send(new S3.PutObjectCommand({ Bucket, Key: 'table', Body: half, ContentLength: 1_000_000 }))
    const received = async () => await readdir(join(dataDir, Bucket, 'tmp'))
    await expect.poll(received, { message: 'the half put has begun', timeout: 5000 }).toHaveLength(1)
    const dead = server.end('SIGKILL')
    await expect(cut).rejects.toThrow(/ECONNRESET|EPIPE|socket hang up/)
    await dead
    client.destroy()

    await using store = await startObjectStore(options)
    expect((await store.read(Bucket, 'table')).toString()).toBe('old')
    expect(await store.openUploads(Bucket)).toEqual([{ key: 'table', uploadId: UploadId }])
    expect(await readdir(join(dataDir, Bucket, 'tmp'))).toEqual([])
    expect(await readdir(join(dataDir, Bucket, 'data'))).toHaveLength(2)

    const next = connect(store)
    const head = await next.send(new S3.HeadObjectCommand({ Bucket, Key: 'table' }))
    expect(head.Metadata).toEqual({ rows: '1' })
    const MultipartUpload = { Parts: [{ PartNumber: 4, ETag }] }
    const complete = { Bucket, Key: 'table', UploadId, MultipartUpload }
    await next.send(new S3.CompleteMultipartUploadCommand(complete))
    next.destroy()
    expect(await store.read(Bucket, 'table')).toEqual(part.Body)
    expect(await readdir(join(dataDir, Bucket, 'data'))).toHaveLength(1)
  } finally {
    await rm(dataDir, { recursive: true, force: true })
  }
})

test('SIGTERM ends the process with exit code 0 while a client holds a connection', async () => {
  const dataDir = await mkdtemp(join(tmpdir(), 'object-store-term-'))
  try {
    const server = await startProcess(dataDir)
    const held = request(`${server.endpoint}/${Bucket}/x`, { method: 'PUT', headers: { 'content-length': 10 } })
    held.on('error', () => {})
    held.write('half')
    await once(held, 'socket')
    expect(await server.end('SIGTERM')).toEqual([0, null])
  } finally {
    await rm(dataDir, { recursive: true, force: true })
  }
})
