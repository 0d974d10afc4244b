import { execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdir, mkdtemp, realpath, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { freePort } from '@multiboard-sync/shared/testing/postgres/free-port'
import { withDeadline } from '@multiboard-sync/shared/testing/postgres/deadline'
import type { RunningControlPlane, StartOptions } from '../src/start-control-plane.ts'
import type { Log } from '../src/web/log.ts'

const START_TIMEOUT_MS = 20_000
const controlPlane = fileURLToPath(new URL('..', import.meta.url))

/** What a platform does around the bundle, in plain Node: web requests in, web responses out. */
const HOST = `
import { createServer } from 'node:http'
import { Readable } from 'node:stream'
import app from './index.js'
const origin = process.env.PUBLIC_URL
createServer(async (incoming, outgoing) => {
  const gone = new AbortController()
  outgoing.on('close', () => gone.abort())
  const { method, headers, url } = incoming
  const hasBody = method !== 'GET' && method !== 'HEAD'
  const body = hasBody ? { body: Readable.toWeb(incoming), duplex: 'half' } : {}
  const response = await app.fetch(new Request(new URL(url, origin), { method, headers, signal: gone.signal, ...body }))
  outgoing.writeHead(response.status, Object.fromEntries(response.headers))
  if (response.body) Readable.fromWeb(response.body).on('error', () => outgoing.destroy()).pipe(outgoing)
  else outgoing.end()
}).listen(new URL(origin).port, '127.0.0.1', () => console.log('listening'))
`

/**
 * Migrates by the command, bundles the control plane as the platform does, and runs the bundle in plain Node in a folder
 * that has nothing but Hono beside it. Set up by the environment alone, as functions are.
 */
export async function startBundle(options: StartOptions): Promise<RunningControlPlane> {
  await using stack = new AsyncDisposableStack()
  const folder = await mkdtemp(join(tmpdir(), 'bundle-'))
  stack.defer(async () => await rm(folder, { recursive: true, force: true }))
  await runMigrations(options.databaseUrl)
  await build(join(folder, 'index.js'))
  await mkdir(join(folder, 'node_modules'))
  await symlink(await realpath(join(controlPlane, 'node_modules/hono')), join(folder, 'node_modules/hono'))
  await writeFile(join(folder, 'package.json'), '{"type":"module"}')
  await writeFile(join(folder, 'host.js'), HOST)

  const url = `http://127.0.0.1:${await freePort()}`
  const child = spawn(process.execPath, ['host.js'], {
    cwd: folder,
    env: {
      DATABASE_URL: options.databaseUrl,
      PUBLIC_URL: url,
      ADMIN_TOKEN: options.adminToken ?? '',
      SIGNING_KEY: JSON.stringify(options.signingKey),
    },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  stack.defer(async () => {
    const exited = once(child, 'exit')
    if (child.exitCode === null && child.kill('SIGKILL')) await exited
  })
  let said = ''
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    said += text
    for (const line of text.split('\n').filter(Boolean)) options.log?.(JSON.parse(line) as Parameters<Log>[0])
  })
  const begun = Promise.race([once(child.stdout, 'data'), once(child, 'exit')])
  await withDeadline('start of the bundle', START_TIMEOUT_MS, begun)
  if (child.exitCode !== null) throw new Error(`the bundle ended: ${said}`)
  const resources = stack.move()
  const close = async (): Promise<void> => await resources.disposeAsync()
  return { url, kid: '', close, [Symbol.asyncDispose]: close }
}

/** By the command that the platform runs, into another file. */
async function build(file: string): Promise<void> {
  const rolldown = join(controlPlane, '../node_modules/rolldown/bin/cli.mjs')
  await promisify(execFile)(process.execPath, [rolldown, '-c', '--file', file], {
    cwd: controlPlane,
    timeout: START_TIMEOUT_MS,
  })
}

/** `pnpm migrate`, with nothing else in its environment. */
async function runMigrations(databaseUrl: string): Promise<void> {
  const command = join(controlPlane, 'src/run-migrations.ts')
  await promisify(execFile)(process.execPath, [command], {
    env: { DATABASE_URL: databaseUrl },
    timeout: START_TIMEOUT_MS,
  })
}
