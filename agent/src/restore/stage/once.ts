import { retry } from '@multiboard-sync/shared/retry'
import { toSyncError } from '@multiboard-sync/shared/sync-error'
import type { Door, Lane } from '../../lanes/lanes.ts'
import { endBackend, readBackend, type Backend } from '../../postgres/end-backend.ts'
import { queryTogether } from '../../postgres/query-all.ts'
import type { Session } from '../../postgres/session.ts'
import type { Reporter } from '../../report/reporter.ts'
import { runTogether } from '../run-together.ts'

/*
 * Work on the stage that is done exactly once, however often a connection breaks: a piece of rows, an index, a key.
 *
 *   begin ─► its number ─► work ─► commit ─► done
 *              │ the connection to the target, to the source or to the store breaks anywhere here
 *              ▼
 *   new session ─► the old one is ended ─► pg_xact_status(its number) ─► committed: done
 *                                                                    └► aborted: again
 *
 * Promises: when it returns, what was to be done is there once; a few failures that may pass cost time, not the job.
 * Never: takes the lost answer to a COMMIT for either yes or no.
 */

const ATTEMPTS = 5
/** A store or a server that restarts is back within the sum of these. */
const FIRST_DELAY_MS = 500
const MAX_DELAY_MS = 10_000

/** The stage of a job, for those who work on it. */
export interface StageWork {
  door: Door
  /** Makes sure that the server has lost nothing since the job began, and the target is still the job's: target.stand(). */
  stand: () => Promise<void>
  reporter: Reporter
  signal: AbortSignal
}

interface Begun<T> {
  /** The transaction's number. */
  xid: string
  /** Of work whose COMMIT may have been sent. */
  done?: { answer: T }
}

/** Does the work in a transaction of its own. `what` names it in events. Throws what it throws, when another try is not worth it. */
export async function once<T>(
  lane: Lane,
  stage: StageWork,
  what: string,
  work: (session: Session) => Promise<T>,
): Promise<T> {
  let begun: Begun<T> | undefined
  return await again(lane, stage, what, async (session) => {
    if (begun && (await wasCommitted(session, begun.xid, stage)) && begun.done) return begun.done.answer
    begun = undefined
    begun = { xid: await beginNumbered(session) }
    const answer = await work(session)
    begun.done = { answer }
    await session.run('commit')
    return answer
  })
}

/** The same of statements alone, which are sent together with their commit. */
export async function onceRun(lane: Lane, stage: StageWork, what: string, statements: string[]): Promise<void> {
  let xid: string | undefined
  await again(lane, stage, what, async (session) => {
    if (xid !== undefined && (await wasCommitted(session, xid, stage))) return
    xid = undefined
    xid = await beginNumbered(session)
    await runTogether(session, [...statements, 'commit'])
  })
}

/**
 * Does work that changes nothing, or the same when it is done twice, outside of a transaction. When it is done again nothing
 * goes on of what was lost. Throws as once().
 */
export async function again<T>(
  lane: Lane,
  { door, reporter, signal }: Omit<StageWork, 'stand'>,
  what: string,
  work: (session: Session) => Promise<T>,
): Promise<T> {
  const options = {
    signal,
    attempts: ATTEMPTS,
    firstDelayMs: FIRST_DELAY_MS,
    maxDelayMs: MAX_DELAY_MS,
    onRetry: (thrown: unknown, attempt: number) => {
      const { code, message } = toSyncError(thrown)
      reporter.event('stage.retried', { what, attempt, code, message }, 'warning')
    },
  }
  let lost: Backend | undefined
  return await retry(options, async () => {
    try {
      const session = await lane.session(door)
      if (lost) await endBackend(session, lost, signal)
      lost = await readBackend(session)
      return await work(session)
    } catch (error) {
      // In the middle of a COPY, or of a transaction that failed.
      lane.drop(door)
      throw error
    }
  })
}

/** In one message. */
async function beginNumbered(session: Session): Promise<string> {
  const rows = await queryTogether<{ xid: string }>(session, ['begin', 'select pg_current_xact_id()::text as xid'])
  const [row] = rows
  if (row === undefined) throw new Error('a function answers one row')
  return row.xid
}

/** What became of a transaction whose session has ended. Throws as target.stand(). */
async function wasCommitted(session: Session, xid: string, { stand }: StageWork): Promise<boolean> {
  // After a crash the server may give the number of a transaction that never reached its disk to another one.
  await stand()
  const [row] = await session.query<{ status: string | null }>('select pg_xact_status($1::text::xid8) as status', [xid])
  return row?.status === 'committed'
}
