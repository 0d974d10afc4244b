import { createHash } from 'node:crypto'
import { pipeline } from 'node:stream/promises'
import {
  manifestSchema,
  type ArchiveKind,
  type ArchivedObject,
  type ArchiveSummary,
  type Column,
  type Manifest,
  type Part,
} from '@multiboard-sync/shared/manifest'
import type { Packing } from '@multiboard-sync/shared/policy'
import { SyncError } from '@multiboard-sync/shared/sync-error'
import type { TableName } from '@multiboard-sync/shared/table-pattern'
import { codecFor, defaultPacking } from './codec.ts'
import { frameRows, partHeader, type Counted } from './frame-rows.ts'
import { MANIFEST, MANIFEST_SIGNATURE, RECIPE, archivePrefix, partName } from './object-names.ts'
import type { ObjectStore } from './object-store.ts'
import { writeRecipe } from './recipe.ts'
import type { ManifestSigner } from './sign-manifest.ts'
import { summarise } from './summarise.ts'

// Writes one archive (docs/ARCHIVE-FORMAT.md): parts and SQL in any order and in parallel, then finish().
// It promises: there is no manifest.json before every other object is stored whole; a part is counted and hashed while
// it streams, in bounded memory; when putPart throws, its source is destroyed and no multipart upload of it stays open.
// It never: reads the database, overwrites an object on purpose, decides names (object-names.ts) or limits (put-stream.ts).

/** Raw COPY text as it comes, such as a Readable. A chunk need be good only until the next one is asked for. */
interface Rows extends AsyncIterable<Buffer> {
  /** Lets who waits for the next chunk have this error. */
  destroy(error?: Error): unknown
}

interface PutPartOptions {
  columns: Column[]
  /** An upper estimate of the part's bytes, for the size of the multipart parts. */
  expectedBytes: number
  signal: AbortSignal
  /** Increments since the last call, as they leave the database. */
  onBytes?: (rawBytes: number, rows: number) => void
}

type ManifestFacts = Omit<
  Manifest,
  'format' | 'id' | 'kind' | 'created_at' | 'agent' | 'job' | 'objects' | 'totals' | 'tool'
>

export interface ArchiveWriter {
  readonly id: string
  readonly kind: ArchiveKind
  /** The keys' common beginning, with the slash. */
  readonly folder: string
  /** `rows` is raw COPY text (UTF-8, text format) of the columns that are not generated, in their order. */
  putPart(table: TableName, n: number, rows: Rows, options: PutPartOptions): Promise<Part>
  /** One SQL text as `name`, a constant of object-names.ts that ends in .sql. */
  putSql(name: string, sql: string, signal: AbortSignal): Promise<ArchivedObject>
  /** Writes RESTORE.txt, the signature, and last the manifest. Only then does the archive exist. */
  finish(facts: ManifestFacts, signal: AbortSignal): Promise<{ manifest: Manifest; summary: ArchiveSummary }>
}

export interface WriterDeps {
  store: ObjectStore
  prefix: string
  signer: ManifestSigner
  agent: string
  version: string
}

export interface NewArchive {
  id: string
  kind: ArchiveKind
  job: string
  /** Default gzip, level 1. */
  packing?: Packing
  /** Told of every multipart upload as it opens, with its full key. */
  onUpload?: (upload: { key: string; uploadId: string }) => void
}

/** Writes nothing yet. Throws SyncError `config-invalid` when this Node.js cannot pack so. */
export function createArchive(deps: WriterDeps, archive: NewArchive): ArchiveWriter {
  const { store } = deps
  const { level } = archive.packing ?? defaultPacking
  const codec = codecFor(archive.packing ?? defaultPacking)
  const folder = archivePrefix(deps.prefix, archive.kind, archive.id)
  const objects: ArchivedObject[] = []
  let vacancy: Promise<void> | undefined
  const memory: Buffer[] = []

  /** A finished archive is never written into, also when an id is used twice. Asks once; a failure is asked again. */
  async function requireVacant(signal: AbortSignal): Promise<void> {
    vacancy ??= lookForManifest(signal)
    await vacancy.catch((error: unknown) => {
      vacancy = undefined
      throw error
    })
  }

  async function lookForManifest(signal: AbortSignal): Promise<void> {
    if (!(await store.head(`${folder}${MANIFEST}`, signal))) return
    throw new SyncError('storage-failed', `Archive ${archive.id} already exists.`, {
      hint: 'Archives are written once.',
    })
  }

  async function putWhole(name: string, body: Buffer, bytes: number, contentType: string, signal: AbortSignal) {
    await requireVacant(signal)
    await store.putText(`${folder}${name}`, body, { signal, contentType })
    const object = { key: name, bytes, compressed_bytes: body.length, sha256: sha256(body) }
    objects.push(object)
    return object
  }

  return {
    id: archive.id,
    kind: archive.kind,
    folder,

    async putPart(table, n, rows, options) {
      const name = `${partName(table, n)}${codec.extension}`
      const key = `${folder}${name}`
      await requireVacant(options.signal).catch((error: unknown) => {
        rows.destroy()
        throw error
      })
      const header = partHeader(table, n, options.columns)
      const counted: Counted = { rows: 0, bytes: 0 }
      const packed = codec.createPacker(level)
      // Who waits for rows would wait for ever.
      packed.once('error', (error) => rows.destroy(error))
      // Two pipelines with `packed` between them: what breaks in one breaks the other, and the source's error wins.
      const [framing, storing] = await Promise.allSettled([
        pipeline(frameRows(rows, header, counted, options.onBytes), packed, { signal: options.signal }),
        store.putStream(key, packed, {
          expectedBytes: options.expectedBytes,
          signal: options.signal,
          contentType: codec.contentType,
          memory,
          onUpload: (uploadId) => archive.onUpload?.({ key, uploadId }),
        }),
      ])
      if (storing.status === 'rejected') throw storing.reason
      if (framing.status === 'rejected') throw framing.reason
      const { bytes: compressed_bytes, sha256: digest } = storing.value
      return { key: name, header_bytes: header.length, ...counted, compressed_bytes, sha256: digest }
    },

    async putSql(name, sql, signal) {
      const text = Buffer.from(sql)
      const body = await codec.packWhole(text, level)
      return await putWhole(`${name}${codec.extension}`, body, text.length, codec.contentType, signal)
    },

    async finish(facts, signal) {
      const head = {
        format: 1 as const,
        id: archive.id,
        kind: archive.kind,
        created_at: new Date().toISOString(),
        agent: deps.agent,
        job: archive.job,
        ...facts,
        tool: { name: 'multiboard-sync' as const, version: deps.version },
      }
      const recipe = Buffer.from(writeRecipe(head, codec, deps.signer))
      await putWhole(RECIPE, recipe, recipe.length, 'text/plain; charset=utf-8', signal)
      const manifest = manifestSchema.parse({ ...head, objects: sorted(objects), totals: total(facts, objects) })
      const bytes = Buffer.from(`${JSON.stringify(manifest, null, 1)}\n`)
      const jws = await deps.signer.sign(bytes)
      await store.putText(`${folder}${MANIFEST_SIGNATURE}`, jws, { signal, contentType: 'application/jose' })
      await store.putText(`${folder}${MANIFEST}`, bytes, {
        signal,
        contentType: 'application/json',
        onlyIfAbsent: true,
      })
      return { manifest, summary: summarise(manifest, sha256(bytes), []) }
    },
  }
}

function total(facts: ManifestFacts, objects: ArchivedObject[]): Manifest['totals'] {
  const parts = facts.tables.flatMap((table) => table.parts)
  return {
    tables: facts.tables.length,
    rows: sum(parts.map((part) => part.rows)),
    bytes: sum(parts.map((part) => part.bytes)),
    compressed_bytes: sum([...parts, ...objects].map((object) => object.compressed_bytes)),
  }
}

function sorted(objects: ArchivedObject[]): ArchivedObject[] {
  return objects.toSorted((a, b) => (a.key < b.key ? -1 : 1))
}

function sum(numbers: number[]): number {
  return numbers.reduce((all, one) => all + one, 0)
}

function sha256(bytes: Buffer): string {
  return createHash('sha256').update(bytes).digest('hex')
}
