import { Socket } from 'node:net'
import { Writable } from 'node:stream'
import type pg from 'pg'

/*
 * Notices a connection that is dead without having been closed: a proxy, tunnel or firewall that lost it and takes our bytes
 * all the same. TCP's keepalive sees only whether the next machine lives.
 *
 *   nothing came or went for a minute, although we wait for the server
 *     ─► ask over another connection what the server believes ─► it works ─────────────► be silent, look again later
 *                                                             ├► it waits for us, twice ─► dead
 *                                                             ├► it knows no such session ─► dead
 *                                                             └► nobody answers, five times ─► dead
 *
 * Promises: a long statement is never taken for a dead line, and neither is a COPY that we hold back ourselves; a session
 * that is given up is ended at the server as well, where it can be, so that its locks are in nobody's way, ours included.
 */

/** Statements and pieces of a COPY that are silent for longer are rare, and to look costs one short connection. */
const SILENCE_MS = 60_000
/** An index may take hours. */
const MAX_SILENCE_MS = 600_000
/** Between two looks at a server that waits for us: its last bytes may just be under way. */
const CONFIRM_MS = 5_000
/** Each of them has taken seconds or more. */
const MAX_LOOKS_WITHOUT_ANSWER = 5
const TICKS_PER_SILENCE = 6

/** What the server says of a session: it has work, it waits for its client, it is not there. */
export type Believed = 'works' | 'waits' | 'gone'

export interface WatchOptions {
  /** Asks over another connection; undefined when no server answered. Rejects for whatever is an answer of another kind. */
  look: () => Promise<Believed | undefined>
  /** Ends the session at the server, over another connection. */
  endThere: () => Promise<void>
  /** Ends the connection on our side. */
  cut: () => void
  silenceMs?: number
}

/** Watches until it is told to end, or the line was found dead. Keeps no process alive. */
export function watchLine(
  client: pg.Client,
  { look, endThere, cut, silenceMs = SILENCE_MS }: WatchOptions,
): { end: () => void } {
  let moved = progressOf(client)
  let silentSinceMs = performance.now()
  let patienceMs = silenceMs
  let isLooking = false
  let isOver = false

  const isSilent = (): boolean => {
    const now = progressOf(client)
    if (now === moved && isWaitedFor(client)) return true
    moved = now
    silentSinceMs = performance.now()
    patienceMs = silenceMs
    return false
  }
  const isDead = async (): Promise<boolean> => {
    let unanswered = 0
    let waits = 0
    while (!isOver && isSilent()) {
      const believed = await look().catch((): Believed => 'works')
      if (!isSilent() || believed === 'works') return false
      if (believed === 'gone') return true
      unanswered = believed === undefined ? unanswered + 1 : 0
      waits = believed === 'waits' ? waits + 1 : 0
      if (waits > 1 || unanswered >= MAX_LOOKS_WITHOUT_ANSWER) return true
      await new Promise((done) => setTimeout(done, Math.min(CONFIRM_MS, silenceMs)).unref())
    }
    return false
  }
  const tick = async (): Promise<void> => {
    if (isLooking || !isSilent() || performance.now() - silentSinceMs < patienceMs) return
    isLooking = true
    try {
      if (await isDead()) {
        end()
        cut()
        // Its own failure says nothing new: the line, or the server behind it, is down.
        await endThere().catch(() => undefined)
        return
      }
      patienceMs = Math.min(MAX_SILENCE_MS, patienceMs * 2)
      silentSinceMs = performance.now()
    } finally {
      isLooking = false
    }
  }
  const timer = setInterval(() => void tick(), silenceMs / TICKS_PER_SILENCE).unref()
  const end = () => {
    isOver = true
    clearInterval(timer)
  }
  return { end }
}

/** Bytes that came and went. */
function progressOf(client: pg.Client): number {
  const { stream } = client.connection
  return stream instanceof Socket ? stream.bytesRead + stream.bytesWritten - stream.writableLength : 0
}

/** True when the next step is the server's: not when we have bytes of it that nobody takes, or are to send it more. */
function isWaitedFor(client: pg.Client): boolean {
  const { stream } = client.connection
  const query: unknown = Reflect.get(client, '_activeQuery')
  // Who reads by 'readable' has it paused all the time, and leaves bytes in it when there are too many.
  const isHeldBack = stream.readableLength > 0 || (stream.isPaused() && stream.listenerCount('readable') === 0)
  if (query === null || query === undefined || isHeldBack) return false
  const isFed = query instanceof Writable && !query.writableEnded && !query.destroyed
  return !isFed || stream.writableLength > 0
}
