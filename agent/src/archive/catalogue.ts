import type { ArchiveKind, ArchiveSummary } from '@multiboard-sync/shared/manifest'
import { SyncError } from '@multiboard-sync/shared/sync-error'
import { archiveIdSchema } from '@multiboard-sync/shared/job'
import { storedObjects } from './archive-reader.ts'
import { MANIFEST, archivePrefix, kindPrefix } from './object-names.ts'
import { readManifest, type ReaderDeps } from './read-manifest.ts'
import { summarise } from './summarise.ts'

export interface CatalogueDeps extends ReaderDeps {
  /** Told of an archive that is there but cannot be trusted or understood; without it such an archive ends the listing. */
  onUnreadable?: (id: string, error: SyncError) => void
}

interface Folder {
  kind: ArchiveKind
  id: string
}

/** Archives looked at together: three requests each, so a hundred of them take seconds and not minutes. */
const ARCHIVES_AT_ONCE = 8

/**
 * All finished archives and safety backups, the newest first, from the bucket alone. Objects that a manifest names and
 * the bucket lacks stand in `missing`. Folders without a manifest are exports that did not finish and are left out.
 */
export async function* listArchives(deps: CatalogueDeps, signal: AbortSignal): AsyncGenerator<ArchiveSummary> {
  const folders = await findFolders(deps, signal)
  for (let at = 0; at < folders.length; at += ARCHIVES_AT_ONCE) {
    const some = folders.slice(at, at + ARCHIVES_AT_ONCE)
    const found = await Promise.all(some.map(async (folder) => await readSummary(deps, folder, signal)))
    for (const summary of found) if (summary) yield summary
  }
}

async function readSummary(deps: CatalogueDeps, at: Folder, signal: AbortSignal): Promise<ArchiveSummary | undefined> {
  const folder = archivePrefix(deps.prefix, at.kind, at.id)
  const present = new Set<string>()
  for await (const { key } of deps.store.list(folder, signal)) present.add(key.slice(folder.length))
  if (!present.has(MANIFEST)) return undefined
  try {
    const { manifest, sha256 } = await readManifest(deps, at.kind, at.id, signal)
    const missing = storedObjects(manifest).filter(({ key }) => !present.has(key))
    return summarise(
      manifest,
      sha256,
      missing.map(({ key }) => key),
    )
  } catch (error) {
    if (!deps.onUnreadable || !(error instanceof SyncError) || !error.code.startsWith('archive-')) throw error
    deps.onUnreadable(at.id, error)
    return undefined
  }
}

async function findFolders(deps: ReaderDeps, signal: AbortSignal): Promise<Folder[]> {
  const found: Folder[] = []
  for (const kind of ['export', 'safety-backup'] as const) {
    const names = await deps.store.listFolders(kindPrefix(deps.prefix, kind), signal)
    for (const id of names) if (archiveIdSchema.safeParse(id).success) found.push({ kind, id })
  }
  return found.toSorted((a, b) => (a.id < b.id ? 1 : -1))
}
