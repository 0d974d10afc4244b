import type { ArchiveKind, ArchiveSummary } from '@multiboard-sync/shared/manifest'
import { SyncError } from '@multiboard-sync/shared/sync-error'
import { archiveIdSchema } from '@multiboard-sync/shared/job'
import { storedObjects } from './archive-reader.ts'
import { MANIFEST, kindPrefix } from './object-names.ts'
import { readManifest, type ReaderDeps } from './read-manifest.ts'
import { summarise } from './summarise.ts'

export interface CatalogueDeps extends ReaderDeps {
  /** Told of an archive that is there but cannot be trusted or understood; without it such an archive ends the listing. */
  onUnreadable?: (id: string, error: SyncError) => void
}

/**
 * All finished archives and safety backups, the newest first, from the bucket alone. Objects that a manifest names and
 * the bucket lacks stand in `missing`. Folders without a manifest are exports that did not finish and are left out.
 */
export async function* listArchives(deps: CatalogueDeps, signal: AbortSignal): AsyncGenerator<ArchiveSummary> {
  for (const { kind, id } of await findFolders(deps, signal)) {
    const present = new Set<string>()
    const folder = `${kindPrefix(deps.prefix, kind)}${id}/`
    for await (const { key } of deps.store.list(folder, signal)) present.add(key.slice(folder.length))
    if (!present.has(MANIFEST)) continue
    try {
      const { manifest, sha256 } = await readManifest(deps, kind, id, signal)
      const missing = storedObjects(manifest).filter(({ key }) => !present.has(key))
      yield summarise(
        manifest,
        sha256,
        missing.map(({ key }) => key),
      )
    } catch (error) {
      if (!deps.onUnreadable || !(error instanceof SyncError) || !isAboutArchive(error)) throw error
      deps.onUnreadable(id, error)
    }
  }
}

async function findFolders(deps: ReaderDeps, signal: AbortSignal): Promise<{ kind: ArchiveKind; id: string }[]> {
  const found: { kind: ArchiveKind; id: string }[] = []
  for (const kind of ['export', 'safety-backup'] as const) {
    const names = await deps.store.listFolders(kindPrefix(deps.prefix, kind), signal)
    for (const id of names) if (archiveIdSchema.safeParse(id).success) found.push({ kind, id })
  }
  return found.toSorted((a, b) => (a.id < b.id ? 1 : -1))
}

function isAboutArchive(error: SyncError): boolean {
  return error.code.startsWith('archive-')
}
