import type { EventEmitter } from 'node:events'
import { SyncError } from '@multiboard-sync/shared/sync-error'

/** Ctrl-C through a package manager comes twice at once, from the terminal and from it. */
const SAME_MS = 1_000
/** What a shell says of a process that Ctrl-C ended. */
const EXIT_AT_ONCE = 130

interface Signals {
  first: AbortSignal
  second: AbortSignal
}

/**
 * The first SIGINT or SIGTERM aborts `first`: what runs stops where it is safe. Of a daemon, where the job then goes on, the
 * second aborts `second`, which cancels it. The next one, a second later or more, ends the process at once, as a crash
 * would: the target is as it was or changed whole, and the next boot tidies up.
 */
export function watchSignals(
  isDaemon: boolean,
  source: Pick<EventEmitter, 'on'> = process,
  end: (code: number) => void = (code) => process.exit(code),
  nowMs: () => number = () => performance.now(),
): Signals {
  const [first, second] = [new AbortController(), new AbortController()]
  let stoppedAtMs: number | undefined
  const onSignal = (): void => {
    const stopped = new SyncError('canceled', 'The command was stopped.', { hint: 'The target is as it was.' })
    if (!first.signal.aborted) first.abort(stopped)
    else if (isDaemon && !second.signal.aborted) second.abort(stopped)
    else {
      if (nowMs() - (stoppedAtMs ?? 0) >= SAME_MS) end(EXIT_AT_ONCE)
      return
    }
    stoppedAtMs = nowMs()
  }
  source.on('SIGINT', onSignal)
  source.on('SIGTERM', onSignal)
  return { first: first.signal, second: second.signal }
}
