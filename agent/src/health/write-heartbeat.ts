import { mkdir, rename, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { log } from '../log.ts'
import type { AgentStatus } from './agent-status.ts'
import type { AgentWatch } from './agent-watch.ts'
import { HEARTBEAT_FILE } from './heartbeat.ts'

/** Four in the time after which a daemon counts as gone. */
const BEAT_EVERY_MS = 15_000

/**
 * Writes `<stateDir>/alive.json` at once, every 15 seconds, and whenever the loop turns; who reads it finds all of one or all of
 * the other. A disk that does not take it is told in the log once, and changes nothing about the daemon. Removed at the end.
 */
export async function startHeartbeat(
  stateDir: string,
  status: AgentStatus,
  everyMs: number = BEAT_EVERY_MS,
): Promise<AgentWatch & AsyncDisposable> {
  await mkdir(stateDir, { recursive: true, mode: 0o700 })
  const path = join(stateDir, HEARTBEAT_FILE)
  let writing: Promise<void> | undefined
  let isAgain = false
  let isTold = false

  const write = async (): Promise<void> => {
    do {
      isAgain = false
      try {
        await writeFile(`${path}.new`, `${JSON.stringify(status.read())}\n`)
        await rename(`${path}.new`, path)
        isTold = false
      } catch (thrown) {
        const code = thrown instanceof Error && 'code' in thrown ? String(thrown.code) : 'unknown'
        if (!isTold) log('warning', 'The sign of life cannot be written.', { file: HEARTBEAT_FILE, code })
        isTold = true
      }
    } while (isAgain)
    writing = undefined
  }
  // One at a time: what is asked for meanwhile is written once more at its end.
  const beat = (): void => {
    if (writing) isAgain = true
    else writing = write()
  }
  const timer = setInterval(beat, everyMs).unref()
  beat()
  await writing
  return {
    settling: beat,
    polled: beat,
    failed: beat,
    orderRefused: () => undefined,
    draining: beat,
    jobBegan: () => {
      beat()
      return { sinks: [], ended: beat }
    },
    [Symbol.asyncDispose]: async () => {
      clearInterval(timer)
      isAgain = false
      await writing
      await rm(path, { force: true })
    },
  }
}
