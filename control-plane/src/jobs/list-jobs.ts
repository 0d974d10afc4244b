import { jobIdSchema } from '@multiboard-sync/shared/job'
import { z } from 'zod'
import type { Database } from '../store/open-database.ts'
import { encodeCursor, momentSchema, pageSchema } from '../web/page.ts'
import { jobColumnsForLists, type JobRow } from './job-row.ts'

export const jobPageSchema = pageSchema(z.tuple([momentSchema, jobIdSchema]))

/** One page of jobs, newest first, and the cursor of the next page when there is more. */
export async function listJobs(
  database: Database,
  { cursor, limit }: z.output<typeof jobPageSchema>,
): Promise<{ jobs: JobRow[]; next: string | undefined }> {
  const rows = await database.query<JobRow>(
    `select ${jobColumnsForLists} from multiboard.jobs
     where $1::timestamptz is null or (created_at, id) < ($1, $2)
     order by created_at desc, id desc limit $3`,
    [cursor?.[0] ?? null, cursor?.[1] ?? null, limit + 1],
  )
  const jobs = rows.slice(0, limit)
  const last = jobs.at(-1)
  const next = rows.length > limit && last ? encodeCursor([last.created_at.toISOString(), last.id]) : undefined
  return { jobs, next }
}
