import { createHash } from 'node:crypto'
import { archiveIdSchema } from '@multiboard-sync/shared/job'
import { manifestSchema, type ArchiveKind, type Manifest } from '@multiboard-sync/shared/manifest'
import { SyncError } from '@multiboard-sync/shared/sync-error'
import { MANIFEST, MANIFEST_SIGNATURE, archivePrefix } from './object-names.ts'
import type { ObjectStore } from './object-store.ts'
import { damaged } from './open-rows.ts'
import { untrusted, type ManifestTrust } from './sign-manifest.ts'

/** About 300,000 parts; more is not a manifest of ours. */
const MANIFEST_MAX_BYTES = 64 * 1024 * 1024
const SIGNATURE_MAX_BYTES = 8 * 1024

export interface ReaderDeps {
  store: ObjectStore
  prefix: string
  trust: ManifestTrust
}

export interface ReadManifest {
  manifest: Manifest
  sha256: string
  folder: string
}

/**
 * Finds the archive under archives/ or backups/. Throws SyncError archive-unknown, or archive-incomplete when there are
 * objects but no manifest: its export never finished.
 */
export async function findArchive(deps: ReaderDeps, id: string, signal: AbortSignal): Promise<ArchiveKind> {
  const kinds: ArchiveKind[] = ['export', 'safety-backup']
  if (archiveIdSchema.safeParse(id).success) {
    for (const kind of kinds) {
      if (await deps.store.head(`${archivePrefix(deps.prefix, kind, id)}${MANIFEST}`, signal)) return kind
    }
    for (const kind of kinds) {
      for await (const { key } of deps.store.list(archivePrefix(deps.prefix, kind, id), signal)) {
        throw new SyncError('archive-incomplete', `Archive ${id} has no manifest: its export did not finish.`, {
          hint: 'Choose another archive.',
          details: [`found ${key}`],
        })
      }
    }
  }
  throw new SyncError('archive-unknown', 'There is no such archive.', {
    hint: 'The command "archives" lists what is there. Check S3_BUCKET and S3_PREFIX too.',
  })
}

/**
 * Reads, verifies and parses a manifest. Nothing of it is looked at before its signature is found good.
 * Throws SyncError archive-untrusted, archive-damaged.
 */
export async function readManifest(
  deps: ReaderDeps,
  kind: ArchiveKind,
  id: string,
  signal: AbortSignal,
): Promise<ReadManifest> {
  const folder = archivePrefix(deps.prefix, kind, id)
  const bytes = await deps.store.getText(`${folder}${MANIFEST}`, { signal, maxBytes: MANIFEST_MAX_BYTES })
  const jws = await readSignature(deps.store, `${folder}${MANIFEST_SIGNATURE}`, signal)
  await deps.trust.verify(jws, bytes)
  const manifest = parse(bytes)
  if (manifest.id !== id || manifest.kind !== kind) throw untrusted('belongs to another archive')
  checkSums(manifest)
  return { manifest, sha256: createHash('sha256').update(bytes).digest('hex'), folder }
}

async function readSignature(store: ObjectStore, key: string, signal: AbortSignal): Promise<string> {
  try {
    const jws = await store.getText(key, { signal, maxBytes: SIGNATURE_MAX_BYTES })
    return jws.toString('latin1')
  } catch (error) {
    if (error instanceof SyncError && error.code === 'archive-incomplete') throw untrusted('is not signed', error)
    if (error instanceof SyncError && error.code === 'archive-damaged')
      throw untrusted('has a malformed signature', error)
    throw error
  }
}

function parse(bytes: Buffer): Manifest {
  let value: unknown
  try {
    value = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes))
  } catch (cause) {
    throw damaged(MANIFEST, 'it is not JSON', cause)
  }
  const parsed = manifestSchema.safeParse(value)
  if (parsed.success) return parsed.data
  throw new SyncError('archive-damaged', "The archive's manifest has a form that this version does not know.", {
    hint: 'A newer version of the agent may read it; RESTORE.txt in the archive tells how psql alone restores it.',
    cause: parsed.error,
    details: parsed.error.issues.slice(0, 20).map((issue) => `${issue.path.join('.')}: ${issue.code}`),
  })
}

function checkSums(manifest: Manifest): void {
  for (const table of manifest.tables) {
    const rows = table.parts.reduce((sum, part) => sum + part.rows, 0)
    const bytes = table.parts.reduce((sum, part) => sum + part.bytes, 0)
    if (rows !== table.rows || bytes !== table.bytes) throw damaged(MANIFEST, "a table's parts do not add up")
  }
}
