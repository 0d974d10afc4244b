import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { open, readFile } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'

import { SyncError } from '../../shared/src/sync-error.ts'
import { withDeadline } from '../../shared/testing/postgres/deadline.ts'
import { agentProcessEnv, agentNodeOptions } from '../agent-process.ts'

export interface RunningAgent extends AsyncDisposable {
  /** Rejects when the agent ends before it is told to; never resolves. */
  died: Promise<never>
}

/** The first signal ends an idle agent; the second cancels a running job, which rolls back and tells so. */
const stopSteps = [
  ['SIGTERM', 1000],
  ['SIGTERM', 10_000],
  ['SIGKILL', 5000],
] as const
const logTailCharacters = 4000

/** Starts `agent run` as a process of its own, as it runs in earnest, so that its memory is its own too. */
export async function startAgent(env: Record<string, string>, logFile: string): Promise<RunningAgent> {
  const preload = new URL('end-with-parent.ts', import.meta.url).href
  const main = fileURLToPath(new URL('../../agent/src/main.ts', import.meta.url))
  await using log = await open(logFile, 'a', 0o600)
  const child = spawn(
    process.execPath,
    [...agentNodeOptions, '--import', preload, main, 'run'],
    // A session of its own: Ctrl-C reaches the demo only, which then stops the agent in order.
    { env: { ...env, ...agentProcessEnv }, stdio: ['ignore', log.fd, log.fd, 'ipc'], detached: true },
  )
  await once(child, 'spawn')
  let isStopping = false
  const died = once(child, 'exit').then(async ([code, signal]) => {
    if (isStopping) return await new Promise<never>(() => undefined)
    const tail = (await readFile(logFile, 'utf8')).slice(-logTailCharacters)
    throw new SyncError('crashed', `The agent ended by itself (${String(code ?? signal)}).`, {
      hint: 'Its log says why.',
      details: tail.trimEnd().split('\n'),
    })
  })
  died.catch(() => undefined)
  return {
    died,
    [Symbol.asyncDispose]: async () => {
      isStopping = true
      await stop(child)
    },
  }
}

async function stop(child: ChildProcess): Promise<void> {
  for (const [signal, timeoutMs] of stopSteps) {
    if (hasEnded(child)) return
    const exit = once(child, 'exit')
    child.kill(signal)
    await withDeadline(`the end of the agent after ${signal}`, timeoutMs, exit).catch(() => undefined)
  }
}

function hasEnded(child: ChildProcess): boolean {
  return child.exitCode !== null || child.signalCode !== null
}
