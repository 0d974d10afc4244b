import { newArchiveId } from '@multiboard-sync/shared/job'
import type { ArchiveKind, ArchiveSummary } from '@multiboard-sync/shared/manifest'
import { createArchive } from './archive/archive-writer.ts'
import type { AgentContext, Job, JobRun } from './context.ts'
import { exportArchive, type Export } from './export/export-archive.ts'

/** Writes an archive of what was asked for and notes it, with every open multipart upload, in the journal. */
export async function writeArchive(
  context: AgentContext,
  job: Job,
  run: JobRun,
  asked: Export,
  kind: ArchiveKind,
): Promise<ArchiveSummary> {
  run.reporter.phase(kind === 'export' ? 'exporting' : 'backing-up')
  const id = newArchiveId(new Date(), asked.source.database.name)
  const notes: Promise<void>[] = []
  const onUpload = (upload: { key: string; uploadId: string }): void => {
    const noted = run.journal.record('upload-opened', upload)
    // A disk that is full is told of below, or by the next step that is written down.
    noted.catch(() => undefined)
    notes.push(noted)
  }
  await run.journal.record('archive-begun', { archive: id, kind })
  const archive = createArchive(context, { id, kind, job: job.id, onUpload })
  const { summary } = await exportArchive(asked, archive, {
    reporter: run.reporter,
    signal: run.signal,
    connections: context.policy.limits.connections_per_database,
    checksums: context.policy.verify === 'checksums',
  })
  await Promise.all(notes)
  await run.journal.record(kind === 'export' ? 'archive-written' : 'backup-written', { archive: id })
  if (kind === 'safety-backup') run.facts.safetyBackup = summary
  else {
    const { rows, bytes } = summary
    Object.assign(run.facts, { archive: summary, tables: summary.tables.length, rows, bytes })
  }
  return summary
}
