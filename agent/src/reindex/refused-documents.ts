import { SyncError, toSyncError } from '@multiboard-sync/shared/sync-error'
import type { RefusedDocument } from './import-documents.ts'
import type { ReindexRun } from './reindex-run.ts'

/*
 * Documents that the search server refused: counted by what it said, and every one of them written down.
 *
 * Promises: what leaves the agent are names of fields and numbers; ids go into the bucket alone, where the rows are, too.
 * The import ends after some thousands of them, so that they can be held in memory.
 */

/** The contract's limit for what a result tells. */
const MAX_TOLD = 100
/** A bucket that is away must not keep a job that has failed anyway. */
const STORE_TIMEOUT_MS = 60_000

export interface RefusedDocuments {
  readonly count: number
  add: (refused: RefusedDocument[]) => void
  /** Writes the ids to the bucket and answers the error to throw: `documents-rejected`, also where the bucket is away. */
  toError(): Promise<SyncError>
}

export function collectRefused(
  run: Pick<ReindexRun, 'job' | 'store' | 'prefix' | 'signal'>,
  alias: string,
): RefusedDocuments {
  const all: RefusedDocument[] = []
  return {
    get count() {
      return all.length
    },
    add: (refused) => void all.push(...refused),
    toError: async () => {
      const counts = new Map<string, number>()
      for (const { code, error } of all) counts.set(`${error} (${code})`, (counts.get(`${error} (${code})`) ?? 0) + 1)
      const told = [...counts].toSorted(([, a], [, b]) => b - a).slice(0, MAX_TOLD)
      return new SyncError('documents-rejected', `The search server refused ${all.length} documents of "${alias}".`, {
        hint: `${await store(run, alias, all)} Change the mapping or the rows, then ask for the reindex again.`,
        details: told.map(([said, times]) => `${times} x ${said}`),
      })
    },
  }
}

async function store(
  run: Pick<ReindexRun, 'job' | 'store' | 'prefix' | 'signal'>,
  alias: string,
  all: RefusedDocument[],
): Promise<string> {
  const key = [run.prefix, 'search', run.job, `${alias}.jsonl`].filter((part) => part !== '').join('/')
  const signal = AbortSignal.any([run.signal, AbortSignal.timeout(STORE_TIMEOUT_MS)])
  const lines = all.map(({ id, code, error }) => `${JSON.stringify({ id, code, error })}\n`)
  try {
    await run.store.putText(key, lines.join(''), { signal, contentType: 'application/jsonl' })
    return `Their ids are in the bucket, in ${key}.`
  } catch (error) {
    run.signal.throwIfAborted()
    const code = signal.aborted ? 'storage-unreachable' : toSyncError(error).code
    return `Their ids could not be written to the bucket (${code}).`
  }
}
