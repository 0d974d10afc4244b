import { spawn, type ChildProcess } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { chmod, chown, mkdir, mkdtemp, open, readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'

import pg from 'pg'

import { until, withDeadline } from './postgres/deadline.ts'
import { findPackage } from './postgres/find-package.ts'
import { freePort } from './postgres/free-port.ts'
import { prepareNative } from './postgres/prepare-native.ts'
import { startWatchdog, type Watchdog } from './postgres/start-watchdog.ts'
import { temporaryRoot, unprivilegedUser, type SystemUser } from './postgres/unprivileged-user.ts'

/*
 * Starts real PostgreSQL servers for tests and the demo, as root and as a normal user.
 *
 * Promises: only 127.0.0.1 can reach the server, with a random password. No server outlives us: dispose or stop() ends
 * it; leaving the process in any orderly way ends it at once (the exit handler); SIGKILL, or a signal that nobody
 * handles, ends it through a watchdog process that sees its pipe close. A data folder made here is removed with it.
 * Never: used by anything that ships. Durability is switched off; do not keep data in it.
 */

export interface PostgresOptions {
  /** 13 to 18; the environment's PG_MAJOR, else 18. Others than 18 are downloaded once into `.cache`. */
  major?: number
  /** Server settings by name, over ours. */
  settings?: Readonly<Record<string, string>>
  /** An empty or absent folder, or one that an earlier server used. It is not removed. Default: a temporary one. */
  dataDir?: string
  port?: number
}

export interface PostgresServer extends AsyncDisposable {
  readonly major: number
  readonly port: number
  readonly host: '127.0.0.1'
  readonly user: 'postgres'
  readonly password: string
  readonly dataDir: string
  /** The postmaster's. */
  readonly pid: number
  url(database: string, over?: { user?: string; password?: string; port?: number }): string
  /** `fast` (default) rolls back what runs and closes cleanly; `immediate` is a crash. Twice is once. */
  stop(mode?: 'fast' | 'immediate'): Promise<void>
}

const defaultMajor = 18
/** initdb takes 1 to 3 s here; a busy machine is several times slower. */
const initTimeoutMs = 60_000
const startTimeoutMs = 60_000
const stopTimeoutMs = 20_000
/** Between asking for a free port and taking it, somebody else may take it. */
const portAttempts = 5

/** Older macOS does not know the first. */
const locales = ['C.UTF-8', 'C']

const ourSettings: Readonly<Record<string, string>> = {
  listen_addresses: '127.0.0.1',
  unix_socket_directories: '',
  max_connections: '100',
  password_encryption: 'scram-sha-256',
  fsync: 'off',
  full_page_writes: 'off',
  synchronous_commit: 'off',
  logging_collector: 'off',
}

/** What the exit handler ends. One handler for all servers: a dozen would look like a leak to Node. */
const running = new Set<ChildProcess>()

function killAll(): void {
  for (const child of running) child.kill('SIGQUIT')
}

interface Place {
  dataDir: string
  native: string
  user: SystemUser | undefined
  watchdog: Watchdog
}

export async function startPostgres(options: PostgresOptions = {}): Promise<PostgresServer> {
  const major = options.major ?? Number(process.env['PG_MAJOR'] || defaultMajor)
  const user = unprivilegedUser()
  const native = await prepareNative(await findPackage(major), user)
  const ownFolder = options.dataDir === undefined ? await mkdtemp(join(temporaryRoot(user), 'postgres-')) : undefined
  const watchdog = startWatchdog(ownFolder ?? '')
  const putAway = async () => {
    if (ownFolder !== undefined) await rm(ownFolder, { recursive: true, force: true, maxRetries: 20, retryDelay: 100 })
    watchdog.release()
  }
  try {
    if (ownFolder !== undefined) await chmod(ownFolder, 0o755)
    const dataDir = options.dataDir ?? join(ownFolder ?? '', 'data')
    const place = { dataDir, native, user, watchdog }
    const password = await initialise(place)
    const { child, port } = await launch(place, options, password)
    return serverOf({ major, port, password, dataDir, child, putAway })
  } catch (error) {
    await putAway()
    throw error
  }
}

/** Makes the cluster unless there is one. Answers the superuser's password, which is kept beside the data for a restart. */
async function initialise(place: Place): Promise<string> {
  const { dataDir, user } = place
  const passwordFile = join(dataDir, 'superuser-password')
  if (existsSync(join(dataDir, 'PG_VERSION'))) return await readFile(passwordFile, 'utf8')
  const password = randomBytes(18).toString('base64url')
  await mkdir(dataDir, { recursive: true, mode: 0o700 })
  if (user !== undefined) await chown(dataDir, user.uid, user.gid)
  for (const locale of locales) {
    const { code, output } = await runInitdb(place, password, locale)
    if (code === 0) break
    if (output.includes('invalid locale name') && locale !== locales.at(-1)) continue
    throw new Error(`initdb ended with ${String(code)}:\n${output.slice(-4000)}`)
  }
  await writeFile(passwordFile, password, { mode: 0o600 })
  return password
}

async function runInitdb({ dataDir, native, user, watchdog }: Place, password: string, locale: string) {
  await using pwfile = await secretFile(password, user)
  const flags = [
    '--username=postgres',
    `--pwfile=${pwfile.path}`,
    '--auth=scram-sha-256',
    '--encoding=UTF8',
    '--no-sync',
  ]
  const child = spawn(join(native, 'bin/initdb'), [`--pgdata=${dataDir}`, `--locale=${locale}`, ...flags], {
    ...surroundings(user),
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  let output = ''
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (bytes: Buffer) => (output += bytes.toString()))
  if (child.pid !== undefined) watchdog.say(`initdb ${child.pid}`)
  const [code] = (await withDeadline('initdb', initTimeoutMs, once(child, 'close')).catch((error: unknown) => {
    child.kill('SIGKILL')
    throw error
  })) as [number | null]
  watchdog.say('gone')
  return { code, output }
}

/** A file of its own for initdb to read, because the data folder must still be empty then. */
async function secretFile(secret: string, user: SystemUser | undefined) {
  const folder = await mkdtemp(join(temporaryRoot(user), 'postgres-secret-'))
  const path = join(folder, 'secret')
  await writeFile(path, secret, { mode: 0o600 })
  if (user !== undefined) for (const name of [folder, path]) await chown(name, user.uid, user.gid)
  return { path, [Symbol.asyncDispose]: async () => await rm(folder, { recursive: true, force: true }) }
}

/** The server gets a session of its own, so that Ctrl-C reaches us and we decide, and an environment without PG… names. */
function surroundings(user: SystemUser | undefined) {
  const env = { PATH: process.env['PATH'] ?? '/usr/bin:/bin', LC_ALL: 'C', TZ: 'UTC' }
  return { cwd: '/', env, detached: true, ...user }
}

async function launch(place: Place, options: PostgresOptions, password: string) {
  for (let attempt = 1; ; attempt += 1) {
    const port = options.port ?? (await freePort())
    const child = await spawnServer(place, { ...ourSettings, ...options.settings, port: String(port) })
    try {
      await ready(child, port, password)
      return { child, port }
    } catch (error) {
      await end(child, ['SIGQUIT', 'SIGKILL'])
      const log = await readFile(join(place.dataDir, 'server.log'), 'utf8')
      const portTaken = options.port === undefined && log.includes('could not bind IPv4 address')
      if (portTaken && attempt < portAttempts) continue
      throw new Error(`PostgreSQL did not start; the end of its log:\n${log.slice(-4000)}`, { cause: error })
    }
  }
}

async function spawnServer({ dataDir, native, user, watchdog }: Place, settings: Record<string, string>) {
  const flags = Object.entries(settings).flatMap(([name, value]) => ['-c', `${name}=${value}`])
  await using log = await open(join(dataDir, 'server.log'), 'w')
  const child = spawn(join(native, 'bin/postgres'), ['-D', dataDir, ...flags], {
    ...surroundings(user),
    stdio: ['ignore', log.fd, log.fd],
  })
  if (running.size === 0) process.on('exit', killAll)
  running.add(child)
  child.once('exit', () => {
    running.delete(child)
    if (running.size === 0) process.off('exit', killAll)
    watchdog.say('gone')
  })
  await withDeadline('spawn of postgres', startTimeoutMs, once(child, 'spawn'))
  watchdog.say(`server ${child.pid ?? 0}`)
  child.unref()
  return child
}

async function ready(child: ChildProcess, port: number, password: string): Promise<void> {
  await until('PostgreSQL accepts connections', startTimeoutMs, async () => {
    if (ended(child)) throw new Error(`postgres ended with ${child.exitCode ?? child.signalCode}`)
    const client = new pg.Client({ host: '127.0.0.1', port, user: 'postgres', password, database: 'postgres' })
    client.on('error', () => undefined)
    try {
      await client.connect()
      return true
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException
      // 57P03: the database system is starting up.
      if (code === 'ECONNREFUSED' || code === 'ECONNRESET' || code === '57P03') return false
      throw error
    } finally {
      await client.end().catch(() => undefined)
    }
  })
}

interface Running {
  major: number
  port: number
  password: string
  dataDir: string
  child: ChildProcess
  putAway: () => Promise<void>
}

function serverOf({ major, port, password, dataDir, child, putAway }: Running): PostgresServer {
  let stopped: Promise<void> | undefined
  const stop = async (mode: 'fast' | 'immediate') => {
    await end(child, mode === 'fast' ? ['SIGINT', 'SIGQUIT', 'SIGKILL'] : ['SIGQUIT', 'SIGKILL'])
    await putAway()
  }
  return {
    major,
    port,
    host: '127.0.0.1',
    user: 'postgres',
    password,
    dataDir,
    pid: child.pid ?? 0,
    url: (database, over = {}) => {
      const name = encodeURIComponent(over.user ?? 'postgres')
      const secret = encodeURIComponent(over.password ?? password)
      return `postgres://${name}:${secret}@127.0.0.1:${over.port ?? port}/${encodeURIComponent(database)}`
    },
    stop: async (mode = 'fast') => await (stopped ??= stop(mode)),
    [Symbol.asyncDispose]: async () => await (stopped ??= stop('fast')),
  }
}

function ended(child: ChildProcess): boolean {
  return child.exitCode !== null || child.signalCode !== null
}

/** Signals politely first; each signal gets its time. */
async function end(child: ChildProcess, signals: NodeJS.Signals[]): Promise<void> {
  child.ref()
  for (const signal of signals) {
    if (ended(child)) return
    const exit = once(child, 'exit')
    child.kill(signal)
    try {
      await withDeadline(`end of postgres after ${signal}`, stopTimeoutMs, exit)
      return
    } catch (error) {
      if (signal === signals.at(-1)) throw error
    }
  }
}
