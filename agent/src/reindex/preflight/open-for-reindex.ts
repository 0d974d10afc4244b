import type { Typesense } from '../../typesense/typesense.ts'
import { closed, isClosed } from './not-ready.ts'

/** Opens the search server before a job. Throws `search-not-ready` with one finding when it does not answer, or not to this key. */
export async function openForReindex(open: () => Promise<Typesense>): Promise<Typesense> {
  try {
    return await open()
  } catch (error) {
    throw isClosed(error) ? closed(error) : error
  }
}
