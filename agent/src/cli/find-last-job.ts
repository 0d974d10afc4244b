import { SyncError } from '@multiboard-sync/shared/sync-error'
import type { AgentContext } from '../context.ts'
import { openSession } from '../postgres/session.ts'
import { readAsides } from '../restore/stage/aside.ts'

/** So far back an older job is looked for, to be named when the last one cannot be undone. */
const MAX_RECEIPTS = 20

interface ReceiptRow {
  job: string
  safety_backup: string | null
}

/**
 * The job that changed the target last, by the receipts in the target itself. Never an older one: undoing it would also
 * take back what came after it, so it must be named. Throws `nothing-to-undo` when no job has changed the target, or when
 * the last one has left nothing to put back, and what opening a session throws.
 */
export async function findLastJob(
  context: Pick<AgentContext, 'databaseUrl'>,
  target: string,
  signal: AbortSignal,
): Promise<string> {
  const database = context.databaseUrl(target)
  await using session = await openSession(database, { purpose: 'undo', signal, readOnly: true })
  const [there] = await session.query<{ there: boolean }>(
    `select to_regclass('multiboard_sync.receipts') is not null as there`,
  )
  const receipts = there?.there ? await session.query<ReceiptRow>(NEWEST_SQL, [MAX_RECEIPTS]) : []
  const [last, ...older] = receipts
  if (!last) {
    throw new SyncError('nothing-to-undo', `No job has changed "${target}".`, {
      hint: 'Name another target with --to, or restore an archive.',
    })
  }
  const kept = new Set((await readAsides(session)).flatMap(({ kind, job }) => (kind === 'previous' ? [job] : [])))
  const isUndoable = ({ job, safety_backup }: ReceiptRow): boolean => safety_backup !== null || kept.has(job)
  if (isUndoable(last)) return last.job
  const before = older.find(isUndoable)
  throw new SyncError(
    'nothing-to-undo',
    `The last job on "${target}", ${last.job}, has replaced nothing that is kept.`,
    {
      hint: before
        ? `The newest job that can be undone is ${before.job}: name it, if what came after it may go, too.`
        : 'Restore an archive instead.',
    },
  )
}

const NEWEST_SQL = `
select job, safety_backup from multiboard_sync.receipts order by committed_at desc, fence desc limit $1`
