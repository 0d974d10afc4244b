import { readFileSync } from 'node:fs'

import { SyncError } from '../../shared/src/sync-error.ts'

export interface Stop {
  /** Resolves when the demo shall end. */
  stop: Promise<void>
  /** Aborted then, with a SyncError `canceled`. */
  signal: AbortSignal
}

/** pnpm and npx pass a signal on that the terminal has sent us already: what comes this soon is the same Ctrl-C. */
const sameSignalMs = 1000
const lookEveryMs = 1000

/**
 * Ends the demo on SIGINT, SIGTERM and SIGHUP, when nobody reads what it prints any more, and when the npx or pnpm that
 * started it is gone. A second Ctrl-C does not wait for things to be put away; the watchdogs do that then.
 */
export function watchStop(): Stop {
  const controller = new AbortController()
  const { promise: stop, resolve } = Promise.withResolvers<void>()
  let askedMs = 0
  const ask = () => {
    if (controller.signal.aborted) return
    askedMs = performance.now()
    controller.abort(new SyncError('canceled', 'The demo was stopped.'))
    resolve()
  }
  for (const name of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
    process.on(name, () => {
      if (controller.signal.aborted && performance.now() - askedMs > sameSignalMs) process.exit(130)
      ask()
    })
  }
  for (const stream of [process.stdout, process.stderr]) stream.on('error', ask)
  const starters = startersOf(process.pid)
  const timer = setInterval(() => {
    if (starters.some(({ pid, parent }) => parentOf(pid) !== parent)) ask()
  }, lookEveryMs)
  timer.unref()
  return { stop, signal: controller.signal }
}

interface Starter {
  pid: number
  parent: number
}

/** Us and those above us up to the topmost npx, npm or pnpm, each with its parent; where there is no /proc, nobody. */
function startersOf(self: number): Starter[] {
  const chain: Starter[] = []
  let length = 0
  for (let pid = self; pid > 1;) {
    const parent = parentOf(pid)
    if (parent === undefined) break
    chain.push({ pid, parent })
    if (isPackageManager(parent)) length = chain.length
    pid = parent
  }
  return chain.slice(0, length)
}

function isPackageManager(pid: number): boolean {
  return /(^|[/\0])(npx|npm|pnpm)(-cli)?(\.[cm]?js)?(\0| )|^(npm|pnpm) /.test(read(`/proc/${pid}/cmdline`) ?? '')
}

/** proc(5): the field after the state, which follows the name in parentheses. Undefined when there is no such process. */
function parentOf(pid: number): number | undefined {
  const stat = read(`/proc/${pid}/stat`)
  return stat === undefined ? undefined : Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[1])
}

function read(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8')
  } catch {
    return undefined
  }
}
