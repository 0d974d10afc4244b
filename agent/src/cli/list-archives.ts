import type { ArchiveSummary } from '@multiboard-sync/shared/manifest'
import { formatBytes, formatNumberOf } from '@multiboard-sync/shared/sizes'
import { listArchives } from '../archive/catalogue.ts'
import { openArchive } from '../archive/archive-reader.ts'
import type { AgentContext } from '../context.ts'
import { log } from '../log.ts'

/** Every archive of the bucket, newest first. Unreadable ones are named on stderr. */
export async function readArchives(context: AgentContext, signal: AbortSignal): Promise<ArchiveSummary[]> {
  await context.store.check(signal)
  const archives: ArchiveSummary[] = []
  const onUnreadable = (archive: string, error: { code: string; message: string }): void =>
    log('warning', error.message, { archive, code: error.code })
  for await (const archive of listArchives({ ...context, onUnreadable }, signal)) archives.push(archive)
  return archives
}

export function archivesText(archives: ArchiveSummary[]): string {
  if (archives.length === 0) return 'There are no archives yet.'
  const width = Math.max(...archives.map((archive) => archive.id.length))
  return archives.map((archive) => archiveLine(archive, width)).join('\n')
}

function archiveLine(archive: ArchiveSummary, width: number): string {
  return [
    archive.id.padEnd(width),
    archive.kind.padEnd(13),
    formatNumberOf(archive.tables.length, 'table').padStart(11),
    formatNumberOf(archive.rows, 'row').padStart(18),
    formatBytes(archive.compressed_bytes).padStart(9),
    ...(archive.missing.length > 0 ? [`  ${formatNumberOf(archive.missing.length, 'object')} missing`] : []),
  ].join('  ')
}

/** One archive, its signature checked and its objects looked for. Throws as openArchive does. */
export async function readArchive(context: AgentContext, id: string, signal: AbortSignal): Promise<ArchiveSummary> {
  await context.store.check(signal)
  return (await openArchive(context, id, signal)).summary
}

export function archiveText(archive: ArchiveSummary): string {
  const width = Math.max(5, ...archive.tables.map((table) => table.name.length))
  return [
    `archive  ${archive.id}`,
    `kind     ${archive.kind} of ${archive.source}, PostgreSQL ${Math.floor(archive.server_version / 10_000)}`,
    `made     ${archive.created_at} by job ${archive.job}`,
    `size     ${formatBytes(archive.compressed_bytes)} stored, ${formatBytes(archive.bytes)} of rows`,
    '',
    ...archive.tables.map(
      (table) =>
        `${table.name.padEnd(width)}  ${formatNumberOf(table.rows, 'row').padStart(18)}  ${formatBytes(table.bytes).padStart(9)}`,
    ),
  ].join('\n')
}
