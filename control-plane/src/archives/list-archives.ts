import { archiveIdSchema } from '@multiboard-sync/shared/job'
import type { ArchiveSummary } from '@multiboard-sync/shared/manifest'
import { SyncError } from '@multiboard-sync/shared/sync-error'
import { z } from 'zod'
import type { Database, Queries } from '../store/open-database.ts'
import { encodeCursor, momentSchema, pageSchema } from '../web/page.ts'

export const archivePageSchema = pageSchema(z.tuple([momentSchema, archiveIdSchema]))

export type ArchiveView = ArchiveSummary & { agent: string }

interface ArchiveRow {
  agent: string
  summary: ArchiveSummary
}

/** One page of archives, newest first, and the cursor of the next page when there is more. */
export async function listArchives(
  database: Database,
  { cursor, limit }: z.output<typeof archivePageSchema>,
): Promise<{ archives: ArchiveView[]; next: string | undefined }> {
  const rows = await database.query<ArchiveRow>(
    `select agent, summary from multiboard.archives
     where $1::timestamptz is null or (created_at, id) < ($1, $2)
     order by created_at desc, id desc limit $3`,
    [cursor?.[0] ?? null, cursor?.[1] ?? null, limit + 1],
  )
  const archives = rows.slice(0, limit).map(viewArchive)
  const last = archives.at(-1)
  const next = rows.length > limit && last ? encodeCursor([last.created_at, last.id]) : undefined
  return { archives, next }
}

/** One archive, or undefined when it was never reported. */
export async function findArchive(queries: Queries, id: string): Promise<ArchiveView | undefined> {
  const [row] = await queries.query<ArchiveRow>('select agent, summary from multiboard.archives where id = $1', [id])
  return row && viewArchive(row)
}

export function archiveUnknown(code: 'not-found' | 'archive-unknown'): SyncError {
  return new SyncError(code, 'There is no such archive.', { hint: 'List the archives with GET /v1/archives.' })
}

function viewArchive({ agent, summary }: ArchiveRow): ArchiveView {
  return { ...summary, agent }
}
