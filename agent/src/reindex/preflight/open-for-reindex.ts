import { SyncError } from '@multiboard-sync/shared/sync-error'
import type { Typesense } from '../../typesense/typesense.ts'
import { isClosed } from './inspect-server.ts'
import { findingOf, notReady } from './not-ready.ts'

/** Opens the search server before a job. Throws `search-not-ready` with one finding when it does not answer, or not to this key. */
export async function openForReindex(open: () => Promise<Typesense>): Promise<Typesense> {
  try {
    return await open()
  } catch (error) {
    if (error instanceof SyncError && isClosed(error)) throw notReady([findingOf('search server', error)])
    throw error
  }
}
