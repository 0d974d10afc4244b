import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { withDeadline } from '../../../shared/testing/postgres/deadline.ts'

/** The agent as it runs in earnest: `main.ts run`, a process of its own. */
export interface Daemon extends AsyncDisposable {
  readonly pid: number
  /** Its log so far. */
  log(): string
  send(signal: 'SIGTERM' | 'SIGKILL' | 'SIGSTOP' | 'SIGCONT' | 'SIGHUP'): void
  /** Waits for its end; the exit code, or null when a signal ended it. */
  exited(): Promise<number | null>
  /** SIGKILL, and waits until it is gone. */
  kill(): Promise<void>
}

const MAIN = fileURLToPath(new URL('../../src/main.ts', import.meta.url))
/** Ends the agent when the test's process ends, however that ends. */
const PRELOAD = new URL('../../../scripts/demo/end-with-parent.ts', import.meta.url).href
const EXIT_TIMEOUT_MS = 40_000

export async function startDaemon(env: Record<string, string>): Promise<Daemon> {
  const args = ['--disable-warning=ExperimentalWarning', '--import', PRELOAD, MAIN, 'run']
  const child = spawn(process.execPath, args, { env, stdio: ['ignore', 'ignore', 'pipe', 'ipc'] })
  const chunks: Buffer[] = []
  child.stderr?.on('data', (chunk: Buffer) => chunks.push(chunk))
  const ended = once(child, 'exit').then(([code]) => code as number | null)
  await once(child, 'spawn')
  const log = (): string => Buffer.concat(chunks).toString()
  const exited = async (): Promise<number | null> => {
    try {
      return await withDeadline('the end of the agent', EXIT_TIMEOUT_MS, ended)
    } catch (error) {
      throw new Error(`The agent did not end. Its log:\n${log()}`, { cause: error })
    }
  }
  const kill = async (): Promise<void> => {
    child.kill('SIGKILL')
    await exited()
  }
  return {
    pid: child.pid ?? 0,
    log,
    send: (signal) => void child.kill(signal),
    exited,
    kill,
    [Symbol.asyncDispose]: kill,
  }
}
