import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { withDeadline } from '@multiboard-sync/shared/testing/postgres/deadline'
import { freePort } from '@multiboard-sync/shared/testing/postgres/free-port'
import type { RunningControlPlane, StartOptions } from '../src/start-control-plane.ts'
import type { Log } from '../src/web/log.ts'

const main = new URL('../src/node.ts', import.meta.url).pathname
/** Garbage that waits for V8 to collect it, up to 48 MB of it, would hide what the server holds. */
const SMALL_NURSERY = '--max-semi-space-size=1'
const START_TIMEOUT_MS = 20_000

export interface ControlPlaneProcess extends RunningControlPlane {
  pid: number
}

/** The control plane as a process of its own, whose memory is its alone. */
export async function startProcess(options: StartOptions): Promise<ControlPlaneProcess> {
  const url = `http://127.0.0.1:${await freePort()}`
  const child = spawn(process.execPath, [SMALL_NURSERY, main], {
    env: {
      DATABASE_URL: options.databaseUrl,
      PUBLIC_URL: url,
      ADMIN_TOKEN: options.adminToken ?? '',
      SIGNING_KEY: JSON.stringify(options.signingKey),
      PORT: new URL(url).port,
    },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  const exited = once(child, 'exit')
  const close = async (): Promise<void> => {
    if (child.exitCode === null && child.signalCode === null) child.kill('SIGTERM')
    const [code] = await withDeadline('end of the control plane', START_TIMEOUT_MS, exited)
    if (code !== 0) throw new Error(`the control plane ended with ${String(code)}`)
  }
  const errors = createInterface({ input: child.stderr })
  errors.on('line', (line) => options.log?.(line.startsWith('{') ? (JSON.parse(line) as Parameters<Log>[0]) : { line }))
  const listening = once(createInterface({ input: child.stdout }), 'line')
  await withDeadline('start of the control plane', START_TIMEOUT_MS, listening)
  return { url, kid: '', pid: child.pid ?? 0, close, [Symbol.asyncDispose]: close }
}
