import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { withDeadline } from '../../../shared/testing/postgres/deadline.ts'

export interface Ended {
  code: number | null
  /** Standard output and standard error, as they came. */
  said: string
}

export interface RunOptions {
  env: NodeJS.ProcessEnv
  cwd?: string
  timeoutMs?: number
  /** Called once, when the output holds this for the first time. */
  at?: { text: string; do: () => void }
}

/** Runs a script with bash to its end. Rejects when that takes longer than `timeoutMs`; the script is ended then. */
export async function runScript(path: string, words: readonly string[], options: RunOptions): Promise<Ended> {
  const { env, cwd, timeoutMs = 240_000, at } = options
  const child = spawn('bash', [path, ...words], { env, cwd, stdio: ['ignore', 'pipe', 'pipe'] })
  let said = ''
  let isMet = false
  const hear = (text: string): void => {
    said += text
    if (at && !isMet && said.includes(at.text)) {
      isMet = true
      at.do()
    }
  }
  child.stdout.setEncoding('utf8').on('data', hear)
  child.stderr.setEncoding('utf8').on('data', hear)
  try {
    await withDeadline(`the end of ${path} ${words.join(' ')}`, timeoutMs, once(child, 'exit'))
  } catch (error) {
    child.kill('SIGKILL')
    throw new Error(`${String(error)}; it said:\n${said}`, { cause: error })
  }
  // A background ssh may hold the pipes for a moment longer; what was said before the end is there by then.
  await Promise.race([once(child, 'close'), new Promise((resolve) => setTimeout(resolve, 500))])
  return { code: child.exitCode, said }
}
