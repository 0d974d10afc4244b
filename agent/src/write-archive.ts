import { newArchiveId } from '@multiboard-sync/shared/job'
import type { ArchiveKind, ArchiveSummary } from '@multiboard-sync/shared/manifest'
import { createArchive, type ArchiveWriter } from './archive/archive-writer.ts'
import type { AgentContext, Job, JobRun } from './context.ts'
import { exportArchive } from './export/export-archive.ts'
import { openExport, type Export, type ExportOptions } from './export/open-export.ts'
import type { Feed } from './feed/feed.ts'
import { openLanes, type Lanes } from './lanes/lanes.ts'
import { createTrace } from './lanes/trace.ts'

/**
 * Writes an archive of what was asked for and notes it, with every open multipart upload, in the journal. Not to be called
 * inside of a lane's work.
 */
export async function writeArchive(
  context: AgentContext,
  job: Job,
  run: JobRun,
  asked: Export,
  kind: ArchiveKind,
  shared?: Lanes,
): Promise<ArchiveSummary> {
  run.reporter.phase(kind === 'export' ? 'exporting' : 'backing-up')
  await using own = openLanes({
    count: context.policy.limits.connections_per_database,
    signal: run.signal,
    trace: createTrace(),
  })
  const { archive, written } = await beginArchive(context, job, run, asked, kind)
  const { summary } = await exportArchive(asked, archive, optionsOf(context, run, shared ?? own))
  await written(summary)
  return summary
}

/**
 * The rows of a source on their way through an archive, which is there when the feed has finished, and is noted in the
 * journal as writeArchive() does. Not to be called inside of a lane's work.
 */
export async function feedThroughArchive(
  context: AgentContext,
  job: Job,
  run: JobRun,
  asked: Export,
  lanes: Lanes,
): Promise<Feed> {
  const { archive, written } = await beginArchive(context, job, run, asked, 'export')
  const opened = await openExport(asked, archive, optionsOf(context, run, lanes))
  return {
    archive: archive.id,
    tables: opened.tables,
    pieces: opened.pieces,
    pour: async (piece, sink, lane, options) => await opened.copy(piece, lane, options, sink),
    async finish() {
      const { manifest, summary } = await opened.finish()
      await written(summary)
      return manifest.tables
    },
  }
}

/** An archive that the journal knows of, and what to do when it is written. */
async function beginArchive(
  context: AgentContext,
  job: Job,
  run: JobRun,
  asked: Export,
  kind: ArchiveKind,
): Promise<{ archive: ArchiveWriter; written: (summary: ArchiveSummary) => Promise<void> }> {
  const id = newArchiveId(new Date(), asked.source.database.name)
  const notes: Promise<void>[] = []
  const onUpload = (upload: { key: string; uploadId: string }): void => {
    const noted = run.journal.record('upload-opened', upload)
    // A disk that is full is told of below, or by the next step that is written down.
    noted.catch(() => undefined)
    notes.push(noted)
  }
  await run.journal.record('archive-begun', { archive: id, kind })
  return {
    archive: createArchive(context, { id, kind, job: job.id, packing: context.policy.archive, onUpload }),
    written: async (summary) => {
      await Promise.all(notes)
      await run.journal.record(kind === 'export' ? 'archive-written' : 'backup-written', { archive: id })
      if (kind === 'safety-backup') run.facts.safetyBackup = summary
      else {
        const { rows, bytes } = summary
        Object.assign(run.facts, { archive: summary, tables: summary.tables.length, rows, bytes })
      }
    },
  }
}

function optionsOf(context: AgentContext, run: JobRun, lanes: Lanes): ExportOptions {
  return { lanes, reporter: run.reporter, checksums: context.policy.verify === 'checksums' }
}
