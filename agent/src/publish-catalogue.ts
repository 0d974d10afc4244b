import type { ArchiveSummary } from '@multiboard-sync/shared/manifest'
import { BODY_MAX_BYTES } from '@multiboard-sync/shared/protocol'
import { toSyncError, type SyncError } from '@multiboard-sync/shared/sync-error'
import { listArchives } from './archive/catalogue.ts'
import type { AgentContext } from './context.ts'
import { log } from './log.ts'
import type { ControlPlane } from './poll/control-plane-client.ts'

/** The API takes up to 500 summaries a request, and a body of BODY_MAX_BYTES: a summary names every table. */
const BATCH = 50
const BATCH_BYTES = BODY_MAX_BYTES / 2

/**
 * Tells the control plane every archive in the bucket, from the bucket alone: a lost control plane loses no archive.
 * False when the bucket could not be read: polling goes on, and this is asked for again.
 */
export async function publishCatalogue(
  context: AgentContext,
  controlPlane: ControlPlane,
  signal: AbortSignal,
): Promise<boolean> {
  const onUnreadable = (archive: string, error: SyncError): void =>
    log('warning', error.message, { archive, code: error.code, hint: error.hint })
  let archives: ArchiveSummary[] = []
  let bytes = 0
  try {
    for await (const archive of listArchives({ ...context, onUnreadable }, signal)) {
      const more = Buffer.byteLength(JSON.stringify(archive))
      if (archives.length === BATCH || (archives.length > 0 && bytes + more > BATCH_BYTES)) {
        await controlPlane.archives({ archives }, signal)
        archives = []
        bytes = 0
      }
      archives.push(archive)
      bytes += more
    }
    if (archives.length > 0) await controlPlane.archives({ archives }, signal)
    return true
  } catch (thrown) {
    const error = toSyncError(thrown)
    log('warning', 'The archives could not be listed.', { code: error.code, hint: error.hint })
    return false
  }
}
