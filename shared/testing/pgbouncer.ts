import { execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { chmod, chown, mkdtemp, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises'
import { connect } from 'node:net'
import { join } from 'node:path'
import { promisify } from 'node:util'

import { until, withDeadline } from './postgres/deadline.ts'
import { freePort } from './postgres/free-port.ts'
import { startWatchdog } from './postgres/start-watchdog.ts'
import { temporaryRoot, unprivilegedUser } from './postgres/unprivileged-user.ts'

/*
 * A real PgBouncer in transaction mode in front of a test server: each transaction may run on another connection, so
 * whatever a session keeps (LISTEN, locks, settings, named statements) breaks, as it does behind a hosted pooler.
 *
 * Promises: listens on 127.0.0.1 only, is ended by its pid, and by a watchdog should we be killed. The program comes
 * from PATH, or from Debian's package, unpacked once into a temporary folder without being installed.
 * Never: used by anything that ships.
 */

export interface PgBouncer extends AsyncDisposable {
  /** The same URL, through the pooler. */
  url(direct: string): string
}

interface Program {
  path: string
  /** Where its libraries were unpacked; '' when they are the system's. */
  libraries: string
}

const DOWNLOAD_TIMEOUT_MS = 60_000
const START_TIMEOUT_MS = 10_000
/** What PgBouncer needs beside what every system has. Debian and Ubuntu name the first in two ways. */
const LIBRARIES = /^(libc-?ares2(t64)?|libevent-2\.1-7(t64)?)$/
const run = promisify(execFile)

/** The program, or the reason why there is none. */
export async function findPgBouncer(): Promise<Program | { reason: string }> {
  const folders = (process.env['PATH'] ?? '').split(':').concat('/usr/sbin')
  const installed = folders.map((folder) => join(folder, 'pgbouncer')).find((path) => existsSync(path))
  if (installed !== undefined) return { path: installed, libraries: '' }
  const user = unprivilegedUser()
  const root = process.env['NATIVE_POSTGRES_ROOT'] ?? temporaryRoot(user)
  const home = join(root, `multiboard-pgbouncer-${process.getuid?.() ?? 0}`)
  try {
    if (!existsSync(home)) await unpack(home)
    const libraries = (await readdir(join(home, 'usr/lib'))).find((name) => name.endsWith('-linux-gnu')) ?? ''
    return { path: join(home, 'usr/sbin/pgbouncer'), libraries: join(home, 'usr/lib', libraries) }
  } catch (error) {
    const { message } = error as Error
    return { reason: `PgBouncer is not installed, and its Debian package cannot be had: ${message.split('\n')[0]}` }
  }
}

async function unpack(home: string): Promise<void> {
  const staging = await mkdtemp(`${home}-`)
  try {
    const { stdout } = await run('apt-cache', ['depends', 'pgbouncer'], { timeout: DOWNLOAD_TIMEOUT_MS })
    const libraries = stdout.match(/\S+/g)?.filter((name) => LIBRARIES.test(name)) ?? []
    const flags = ['-o', 'APT::Sandbox::User=root', 'download', 'pgbouncer', ...libraries]
    await run('apt-get', flags, { cwd: staging, timeout: DOWNLOAD_TIMEOUT_MS })
    for (const name of await readdir(staging)) {
      await run('dpkg-deb', ['-x', join(staging, name), join(staging, 'root')], { timeout: DOWNLOAD_TIMEOUT_MS })
    }
    await chmod(join(staging, 'root'), 0o755)
    // The one who renames first wins; whoever comes second uses what is there.
    await rename(join(staging, 'root'), home).catch((error: NodeJS.ErrnoException) => {
      if (error.code !== 'ENOTEMPTY' && error.code !== 'EEXIST') throw error
    })
  } finally {
    await rm(staging, { recursive: true, force: true })
  }
}

/** Starts one in front of the server of `direct`, for all its databases. Rejects with its log. */
export async function startPgBouncer(direct: string): Promise<PgBouncer> {
  const program = await findPgBouncer()
  if ('reason' in program) throw new Error(program.reason)
  const user = unprivilegedUser()
  const server = new URL(direct)
  const folder = await mkdtemp(join(temporaryRoot(user), 'pgbouncer-'))
  const watchdog = startWatchdog(folder)
  const port = await freePort()
  const settings = join(folder, 'pgbouncer.ini')
  const login = `user=${server.username} password=${decodeURIComponent(server.password)}`
  await writeFile(
    settings,
    `[databases]
* = host=${server.hostname} port=${server.port} ${login}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = ${port}
unix_socket_dir =
auth_type = any
pool_mode = transaction
default_pool_size = 4
max_client_conn = 400
server_idle_timeout = 5
logfile = ${join(folder, 'log')}
`,
    { mode: 0o600 },
  )
  if (user !== undefined) for (const path of [folder, settings]) await chown(path, user.uid, user.gid)
  const child = spawn(program.path, [settings], {
    cwd: '/',
    env: { LC_ALL: 'C', LD_LIBRARY_PATH: program.libraries },
    stdio: 'ignore',
    ...user,
  })
  const exited = once(child, 'exit')
  await withDeadline('spawn of pgbouncer', START_TIMEOUT_MS, once(child, 'spawn'))
  watchdog.say(`server ${child.pid ?? 0}`)
  const end = async (): Promise<void> => {
    if (child.exitCode === null && child.signalCode === null) child.kill('SIGKILL')
    await withDeadline('end of pgbouncer', START_TIMEOUT_MS, exited)
    await rm(folder, { recursive: true, force: true })
    watchdog.release()
  }
  try {
    await until(
      'pgbouncer accepts connections',
      START_TIMEOUT_MS,
      async () => {
        if (child.exitCode !== null) throw new Error(`pgbouncer ended with ${child.exitCode}`)
        return await accepts(port)
      },
      10,
    )
  } catch (error) {
    const log = await readFile(join(folder, 'log'), 'utf8').catch(() => 'none')
    await end()
    throw new Error(`PgBouncer did not start; its log:\n${log}`, { cause: error })
  }
  return {
    url: (to) => {
      const url = new URL(to)
      url.host = `127.0.0.1:${port}`
      return url.href
    },
    [Symbol.asyncDispose]: end,
  }
}

async function accepts(port: number): Promise<boolean> {
  const socket = connect(port, '127.0.0.1')
  try {
    await once(socket, 'connect')
    return true
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ECONNREFUSED') return false
    throw error
  } finally {
    socket.destroy()
  }
}
