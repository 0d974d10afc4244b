import { Readable } from 'node:stream'
import { generateKeyPair } from 'jose'
import type { ArchiveKind, ArchivedTable, Column } from '@multiboard-sync/shared/manifest'
import type { Packing } from '@multiboard-sync/shared/policy'
import { startObjectStore, type ObjectStore as Server } from '@multiboard-sync/shared/testing/object-store'
import { createArchive, type ArchiveWriter, type NewArchive } from '../../src/archive/archive-writer.ts'
import { POST_DATA, PRE_DATA, SEQUENCES } from '../../src/archive/object-names.ts'
import { openObjectStore, type ObjectStore, type StoreConfig } from '../../src/archive/object-store.ts'
import {
  manifestSigner,
  manifestTrust,
  type ManifestSigner,
  type ManifestTrust,
} from '../../src/archive/sign-manifest.ts'

/** What every archive test needs: a store, keys, and a small archive with names nobody should use. */

export const BUCKET = 'archives'
export const PREFIX = 'team a/parts'
export const ID = '20261122T080312Z-production-k7f2'

/** What writing and reading archives takes, on any S3 server. */
export interface ArchiveBench {
  store: ObjectStore
  signer: ManifestSigner
  trust: ManifestTrust
  config: StoreConfig
}

export interface Bench extends ArchiveBench, AsyncDisposable {
  server: Server
}

function storeConfig(server: Server): StoreConfig {
  const { endpoint, region, accessKeyId, secretAccessKey } = server
  return { endpoint, region, accessKeyId, secretAccessKey, bucket: BUCKET, prefix: PREFIX, forcePathStyle: true }
}

export async function startBench(): Promise<Bench> {
  const server = await startObjectStore()
  await server.createBucket(BUCKET)
  const config = storeConfig(server)
  const store = openObjectStore(config)
  return {
    server,
    store,
    config,
    ...(await makeSigner()),
    async [Symbol.asyncDispose]() {
      await store[Symbol.asyncDispose]()
      await server.close()
    },
  }
}

/** A key to sign manifests with, and the trust in that key alone. */
export async function makeSigner(): Promise<Pick<ArchiveBench, 'signer' | 'trust'>> {
  const { privateKey, publicKey } = await generateKeyPair('EdDSA')
  return {
    signer: manifestSigner(privateKey, 'agent-key'),
    trust: manifestTrust(async (kid) => (kid === 'agent-key' ? publicKey : undefined)),
  }
}

/** A signal with a deadline: what hangs fails here and not in the runner. */
export function deadline(timeoutMs = 30_000): AbortSignal {
  return AbortSignal.timeout(timeoutMs)
}

export function column(name: string, generated: Column['generated'] = ''): Column {
  return { name, type: 'text', not_null: false, has_default: false, generated, identity: '' }
}

export function writer(
  bench: ArchiveBench,
  id = ID,
  kind: ArchiveKind = 'export',
  onUpload?: NewArchive['onUpload'],
  packing?: Packing,
): ArchiveWriter {
  const { store, signer, config } = bench
  const more = { ...(onUpload ? { onUpload } : {}), ...(packing ? { packing } : {}) }
  const archive = { id, kind, job: 'j4k7q2m9xw1ab', ...more }
  return createArchive({ store, prefix: config.prefix, signer, agent: 'vps-1', version: '0.1.0' }, archive)
}

export const SQL = {
  [PRE_DATA]: 'create table "öffentlich"."a/../b" (x text);\n',
  [SEQUENCES]: '',
  [POST_DATA]: 'create index on t (x);\n',
}

export interface Sample {
  schema: string
  name: string
  columns: Column[]
  /** The raw COPY text of each part. */
  parts: string[]
}

export const SAMPLES: Sample[] = [
  {
    schema: 'public',
    name: 'Component',
    columns: [column('id'), column('name')],
    parts: ['1\ta\\nb\n2\t\\N\n', '3\t\\\\.\n'],
  },
  { schema: 'öffentlich', name: 'a/../b\n"c"', columns: [column('x"y'), column('g', 's')], parts: ['naïve 界\n\n'] },
  { schema: 'a.b', name: 'c', columns: [column('x')], parts: [''] },
  { schema: 'a', name: 'b.c', columns: [], parts: ['\n\n\n'] },
  { schema: '界'.repeat(21), name: '%'.repeat(63), columns: [column('x')], parts: ['1\n'] },
]

function rowsOf(text: string): Readable {
  return Readable.from([Buffer.from(text)], { objectMode: false })
}

/** Writes SAMPLES and SQL as an archive and returns what finish() returned. */
export async function writeSamples(bench: ArchiveBench, id = ID, kind: ArchiveKind = 'export', packing?: Packing) {
  const archive = writer(bench, id, kind, undefined, packing)
  const tables: ArchivedTable[] = []
  for (const { schema, name, columns, parts } of SAMPLES) {
    const done = await Promise.all(
      parts.map(async (text, n) => {
        const options = { columns, expectedBytes: text.length, signal: deadline() }
        return await archive.putPart({ schema, name }, n, rowsOf(text), options)
      }),
    )
    const sum = (key: 'rows' | 'bytes') => done.reduce((all, part) => all + part[key], 0)
    tables.push({ schema, name, columns, rows: sum('rows'), bytes: sum('bytes'), parts: done })
  }
  for (const [name, sql] of Object.entries(SQL)) await archive.putSql(name, sql, deadline())
  return await archive.finish({ ...facts, tables }, deadline())
}

export const facts = {
  source: {
    database: 'production',
    server_version: 180004,
    encoding: 'UTF8',
    system_identifier: '7000000000000000001',
    database_oid: 16384,
  },
  schema_sha256: '0'.repeat(64),
  filters: {},
}
