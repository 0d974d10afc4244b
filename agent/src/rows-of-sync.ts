import { openArchive } from './archive/archive-reader.ts'
import type { AgentContext, Job, JobRun } from './context.ts'
import type { Export } from './export/open-export.ts'
import type { Plan } from './plan/plan.ts'
import { archivedRows, type Rows } from './replace-tables.ts'
import { feedThroughArchive, writeArchive } from './write-archive.ts'

/**
 * The rows of a source on their way into a target: through their archive in one go. Only before a truncate, which locks
 * the target's tables until its end, the archive is written first, so that readers wait for nothing but the load.
 */
export async function rowsOfSync(
  context: AgentContext,
  job: Job,
  run: JobRun,
  asked: Export,
  { engine }: Plan,
): Promise<Rows> {
  if (engine !== 'truncate') {
    return { left: [], open: async (lanes) => await feedThroughArchive(context, job, run, asked, lanes) }
  }
  const { id } = await writeArchive(context, job, run, asked, 'export')
  const archive = await openArchive(context, id, run.signal)
  return archivedRows(archive, archive.manifest.tables)
}
