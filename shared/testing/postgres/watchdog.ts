import { rmSync } from 'node:fs'
import { createInterface } from 'node:readline'
import { setTimeout as sleep } from 'node:timers/promises'

/**
 * A process of its own that outlives a test run killed with SIGKILL. It reads lines from the process that started the
 * server; when that pipe closes without `done`, it ends the server and removes its folder.
 *
 *     server <pid>   this postmaster is to end with us
 *     initdb <pid>   this process group is to end with us
 *     gone           neither runs any more: do not signal a number that may be somebody else's by now
 *     done           everything was put away; end without doing anything
 */
const [folder = ''] = process.argv.slice(2)
/** An immediate shutdown takes milliseconds; the server waits 5 s for its children at most. */
const quitTimeoutMs = 10_000

let server: number | undefined
let initdb: number | undefined
let done = false

// A terminal's Ctrl-C and a polite `kill` of the group must not end the one that puts things away.
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => undefined)

for await (const line of createInterface({ input: process.stdin })) {
  const [word, pid] = line.split(' ')
  server = word === 'server' ? Number(pid) : undefined
  initdb = word === 'initdb' ? Number(pid) : undefined
  if (word === 'done') done = true
}

if (!done) {
  if (initdb !== undefined) signal(-initdb, 'SIGKILL')
  if (server !== undefined) await quit(server)
  if (folder !== '') rmSync(folder, { recursive: true, force: true, maxRetries: 20, retryDelay: 100 })
}

async function quit(pid: number): Promise<void> {
  const endsAt = performance.now() + quitTimeoutMs
  signal(pid, 'SIGQUIT')
  while (signal(pid, 0)) {
    if (performance.now() > endsAt) signal(pid, 'SIGKILL')
    await sleep(20)
  }
}

/** False when there is no such process. */
function signal(pid: number, name: NodeJS.Signals | 0): boolean {
  try {
    return process.kill(pid, name)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ESRCH') return false
    throw error
  }
}
