import type { ChildProcess } from 'node:child_process'
import { chmod, mkdtemp, rm } from 'node:fs/promises'
import { join, resolve } from 'node:path'

import { findPackage } from './postgres/find-package.ts'
import { endServer, launchServer } from './postgres/launch-server.ts'
import { makeCluster } from './postgres/make-cluster.ts'
import { prepareNative } from './postgres/prepare-native.ts'
import { startWatchdog } from './postgres/start-watchdog.ts'
import { temporaryRoot, unprivilegedUser } from './postgres/unprivileged-user.ts'

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
    const dataDir = resolve(options.dataDir ?? join(ownFolder ?? '', 'data'))
    const place = { dataDir, native, user, watchdog }
    const password = await makeCluster(place)
    const { child, port } = await launchServer(place, options, password)
    return serverOf({ major, port, password, dataDir, child, putAway })
  } catch (error) {
    await putAway()
    throw error
  }
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
    await endServer(child, mode === 'fast' ? ['SIGINT', 'SIGQUIT', 'SIGKILL'] : ['SIGQUIT', 'SIGKILL'])
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
