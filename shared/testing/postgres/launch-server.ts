import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { open, readFile } from 'node:fs/promises'
import { join } from 'node:path'

import pg from 'pg'

import { until, withDeadline } from './deadline.ts'
import { freePort } from './free-port.ts'
import { surroundings, type Place } from './place.ts'

export interface LaunchOptions {
  settings?: Readonly<Record<string, string>>
  /** Default: a free one. */
  port?: number
}

export interface Launched {
  child: ChildProcess
  port: number
}

const startTimeoutMs = 60_000
const stopTimeoutMs = 20_000
/** Between asking for a free port and taking it, somebody else may take it. */
const portAttempts = 5

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

/** Starts the postmaster and waits until it lets the superuser in. Rejects with the end of its log; nothing runs then. */
export async function launchServer(place: Place, options: LaunchOptions, password: string): Promise<Launched> {
  for (let attempt = 1; ; attempt += 1) {
    const port = options.port ?? (await freePort())
    const child = await spawnServer(place, { ...ourSettings, ...options.settings, port: String(port) })
    try {
      await ready(child, port, password)
      return { child, port }
    } catch (error) {
      await endServer(child, ['SIGQUIT', 'SIGKILL'])
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

function ended(child: ChildProcess): boolean {
  return child.exitCode !== null || child.signalCode !== null
}

/** Sends one signal after the other until the postmaster has ended; each gets its time. */
export async function endServer(child: ChildProcess, signals: NodeJS.Signals[]): Promise<void> {
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
