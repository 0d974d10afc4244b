import type { Readable } from 'node:stream'
import type { ArchivedTable, ArchiveSummary, Manifest, Part } from '@multiboard-sync/shared/manifest'
import { SyncError } from '@multiboard-sync/shared/sync-error'
import { codecOf, plainName } from './codec.ts'
import { inParallel } from './in-parallel.ts'
import { damaged, openRows, unpack, type StoredFacts } from './open-rows.ts'
import { findArchive, readManifest, type ReaderDeps } from './read-manifest.ts'
import { summarise } from './summarise.ts'

// Opens an archive and reads from it (docs/ARCHIVE-FORMAT.md).
// It promises: nothing is read from an archive whose manifest no trusted key signed; before the first row is given, every
// object is known to be there in its right size; a stream of rows ends only when size, SHA-256, the codec's checksum,
// bytes, closing line and number of rows are those of the manifest. One flipped byte anywhere is an error before the end.
// It never: writes, repairs, skips, or takes an object's name from anywhere but the signed manifest.

/** HEAD requests in flight: a thousand objects take some seconds without flooding a small store. */
const HEADS_IN_FLIGHT = 16
/** No schema we know comes near; what is larger would be held in memory whole. */
const SQL_MAX_BYTES = 256 * 1024 * 1024

export interface OpenedArchive {
  readonly manifest: Manifest
  readonly summary: ArchiveSummary
  /**
   * The text of an object named in manifest.objects, with or without its codec's extension.
   * SyncError archive-damaged | archive-incomplete | storage-….
   */
  readSql(name: string): Promise<string>
  /** Raw COPY text, verified while it streams; see open-rows.ts. `onBytes` is given increments. */
  readRows(
    table: ArchivedTable,
    part: Part,
    signal: AbortSignal,
    onBytes?: (rawBytes: number, rows: number) => void,
  ): Promise<Readable>
}

/**
 * Throws SyncError archive-unknown, archive-untrusted, archive-incomplete (its details name what is missing),
 * archive-damaged, or one of the store's.
 */
export async function openArchive(deps: ReaderDeps, id: string, signal: AbortSignal): Promise<OpenedArchive> {
  const kind = await findArchive(deps, id, signal)
  const { manifest, sha256, folder } = await readManifest(deps, kind, id, signal)
  // Said now, and not when something has been done already.
  for (const { key } of storedObjects(manifest)) codecOf(key)
  await checkObjects(deps, folder, manifest, signal)

  async function get(stored: StoredFacts, until: AbortSignal): Promise<Readable> {
    return await deps.store.get(`${folder}${stored.key}`, { signal: until, expectedBytes: stored.compressed_bytes })
  }

  return {
    manifest,
    summary: summarise(manifest, sha256, []),
    async readSql(name) {
      const object = manifest.objects.find(({ key }) => key === name || plainName(key) === name)
      if (!object) throw new SyncError('archive-incomplete', `The archive's manifest does not name ${name}.`)
      if (object.bytes > SQL_MAX_BYTES) throw damaged(name, `it is larger than ${SQL_MAX_BYTES} bytes`)
      const chunks: Buffer[] = []
      for await (const chunk of unpack(await get(object, signal), object, object.bytes, signal)) chunks.push(chunk)
      const text = Buffer.concat(chunks)
      if (text.length !== object.bytes) throw damaged(name, 'it unpacks to less than the manifest says')
      return decode(name, text)
    },
    readRows: async (_table, part, until, onBytes) => openRows(await get(part, until), part, until, onBytes),
  }
}

/** Everything the manifest names, parts first. */
export function storedObjects(manifest: Manifest): StoredFacts[] {
  return [...manifest.tables.flatMap((table) => table.parts), ...manifest.objects]
}

async function checkObjects(deps: ReaderDeps, folder: string, manifest: Manifest, signal: AbortSignal): Promise<void> {
  const missing: string[] = []
  const wrong: string[] = []
  await inParallel(storedObjects(manifest), HEADS_IN_FLIGHT, async ({ key, compressed_bytes: bytes }) => {
    const found = await deps.store.head(`${folder}${key}`, signal)
    if (!found) missing.push(key)
    else if (found.bytes !== bytes) wrong.push(`${key}: ${found.bytes} bytes instead of ${bytes}`)
  })
  if (missing.length > 0) {
    throw new SyncError('archive-incomplete', `The archive lacks ${missing.length} of its objects.`, {
      hint: 'Choose another archive, or copy the objects back from a replica of the bucket.',
      details: missing.toSorted(),
    })
  }
  if (wrong.length > 0) {
    throw new SyncError('archive-damaged', `${wrong.length} of the archive's objects have another size.`, {
      hint: 'Do not use this archive. Restore an older one, or copy the objects anew from a replica of the bucket.',
      details: wrong.toSorted(),
    })
  }
}

function decode(name: string, text: Buffer): string {
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(text)
  } catch (cause) {
    throw damaged(name, 'it is not UTF-8', cause)
  }
}
