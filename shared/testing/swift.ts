import { spawn, type ChildProcess } from 'node:child_process'
import { createHash, randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { lstat, mkdir, mkdtemp, readdir, readFile, rename, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { fileURLToPath } from 'node:url'
import { withDeadline } from './postgres/deadline.ts'
import { startWatchdog } from './postgres/start-watchdog.ts'

/*
 * An S3 server for tests that others wrote: OpenStack Swift with its S3 API, from Debian's packages, without root and
 * without installing anything. The first start on a machine downloads some megabytes; later ones take a second or two.
 */

/** Where an S3 server answers, and who may ask it. */
export interface S3Server {
  endpoint: string
  region: string
  accessKeyId: string
  secretAccessKey: string
}

/** This machine cannot have Swift (another system, no Python, no mirror in reach); the message says why. */
export class SwiftUnavailable extends Error {
  override name = 'SwiftUnavailable'
}

const FETCH = fileURLToPath(new URL('swift/fetch.sh', import.meta.url))
const SERVE = fileURLToPath(new URL('swift/serve.py', import.meta.url))
const CACHE = fileURLToPath(new URL('../../.cache/swift', import.meta.url))
const OS_RELEASE = '/etc/os-release'
const PYTHON = '/usr/bin/python3'

/** It takes five seconds with a mirror near by; apt tries three times to reach one that does not answer. */
const FETCH_TIMEOUT_MS = 150_000
/** Two seconds on a quiet machine. */
const READY_TIMEOUT_MS = 60_000
const EXIT_TIMEOUT_MS = 10_000

/**
 * Starts Swift on a free port of loopback, without buckets. It ends when disposed of, and also when this process is
 * killed. Throws SwiftUnavailable, or an Error with the server's own words when it does not come up.
 */
export async function startSwift(): Promise<S3Server & AsyncDisposable> {
  const tree = await fetchSwift()
  const folder = await mkdtemp(join(tmpdir(), 'swift-'))
  const watchdog = startWatchdog(folder)
  await using made = new AsyncDisposableStack()
  made.defer(async () => {
    await rm(folder, { recursive: true, force: true, maxRetries: 5 })
    watchdog.release()
  })

  const key = { accessKeyId: 'test:tester', secretAccessKey: randomBytes(16).toString('hex') }
  const lib = join(tree, 'usr/lib')
  const child = spawn(PYTHON, [SERVE, join(folder, 'swift')], {
    cwd: '/',
    // The server ends when its standard input closes, and so with us.
    stdio: ['pipe', 'pipe', 'pipe'],
    env: {
      PATH: process.env['PATH'],
      PYTHONPATH: join(lib, 'python3/dist-packages'),
      LD_LIBRARY_PATH: (await readdir(lib)).map((name) => join(lib, name)).join(':'),
      SWIFT_ACCESS_KEY: key.accessKeyId,
      SWIFT_SECRET_KEY: key.secretAccessKey,
    },
  })
  // Python is gone since Swift was fetched: readEndpoint says that nothing came.
  child.on('error', () => undefined)
  if (child.pid !== undefined) watchdog.say(`server ${child.pid}`)
  made.defer(async () => {
    await end(child)
    watchdog.say('gone')
  })
  const endpoint = await withDeadline('Swift is ready', READY_TIMEOUT_MS, readEndpoint(child))
  const owned = made.move()
  return { endpoint, region: 'us-east-1', ...key, [Symbol.asyncDispose]: async () => await owned.disposeAsync() }
}

/** The folder with Swift's files, fetched once for each release of the system and each version of fetch.sh. */
async function fetchSwift(): Promise<string> {
  const hash = createHash('sha256')
    .update(process.arch)
    .update(await readFile(FETCH))
  hash.update(await readFile(OS_RELEASE).catch(() => ''))
  const tree = join(CACHE, hash.digest('hex').slice(0, 12))
  if (await isThere(tree)) return tree

  await mkdir(CACHE, { recursive: true })
  const staging = await mkdtemp(join(CACHE, 'fetching-'))
  try {
    await runFetch(staging)
    // The one who renames first wins; whoever comes second uses what is there.
    await rename(join(staging, 'root'), tree).catch((error: NodeJS.ErrnoException) => {
      if (error.code !== 'ENOTEMPTY' && error.code !== 'EEXIST') throw error
    })
  } finally {
    await rm(staging, { recursive: true, force: true, maxRetries: 5 })
  }
  return tree
}

async function isThere(path: string): Promise<boolean> {
  const stat = await lstat(path).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return undefined
    throw error
  })
  return stat !== undefined
}

async function runFetch(folder: string): Promise<void> {
  const child = spawn('bash', [FETCH, folder], {
    stdio: ['ignore', 'ignore', 'pipe'],
    timeout: FETCH_TIMEOUT_MS,
    env: { ...process.env, LC_ALL: 'C.UTF-8' },
  })
  const closed = once(child, 'close').catch((error: Error) => {
    throw new SwiftUnavailable(`Swift cannot be fetched on this machine: ${error.message}.`)
  })
  const [said, [code]] = await Promise.all([text(child.stderr), closed])
  if (code === 0) return
  const why = said.trim().split('\n').at(-1)
  throw new SwiftUnavailable(why || 'Swift cannot be fetched on this machine: it took too long.')
}

async function readEndpoint(child: ChildProcess): Promise<string> {
  if (!child.stdout || !child.stderr) throw new Error('Swift was started without pipes')
  let said = ''
  child.stderr.setEncoding('utf8').on('data', (more: string) => (said = (said + more).slice(-4096)))
  let line = ''
  for await (const more of child.stdout.setEncoding('utf8') as AsyncIterable<string>) {
    line += more
    const endpoint = /^READY (\S+)\n/m.exec(line)?.[1]
    if (endpoint !== undefined) return endpoint
  }
  throw new Error(`Swift ended before it was ready: ${said}`)
}

async function end(child: ChildProcess): Promise<void> {
  if (child.pid === undefined || child.exitCode !== null || child.signalCode !== null) return
  const exited = once(child, 'exit')
  child.kill('SIGTERM')
  await withDeadline('Swift ends', EXIT_TIMEOUT_MS, exited).catch(async () => {
    child.kill('SIGKILL')
    await exited
  })
}
