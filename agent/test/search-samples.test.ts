import { basename } from 'node:path'
import { mappingSchema, type Mapping } from '@multiboard-sync/shared/mapping'
import { loadSample, sampleFiles } from '@multiboard-sync/shared/testing/load-sample'
import { createDatabase } from '@multiboard-sync/shared/testing/test-database'
import type pg from 'pg'
import { expect, test } from 'vitest'
import { parse } from 'yaml'
import { z } from 'zod'
import { makePartsDatabase } from '../../scripts/make-parts-database.ts'
import { openSession, type Session } from '../src/postgres/session.ts'
import { compareDocuments, prepareComparison } from '../src/reindex/compare-documents.ts'
import { compileMapping } from '../src/reindex/mapping/compile-mapping.ts'
import { findUnfitRows } from '../src/reindex/mapping/find-unfit-rows.ts'
import { inferMapping } from '../src/reindex/mapping/infer-mapping.ts'
import { openDocuments } from '../src/reindex/open-documents.ts'
import { jobOf, openScene, type Scene } from './search/scene.ts'

/*
 * Every table and view of databases that nobody made for this test, by the mapping that `collections infer` writes for it:
 * reindexed in full, then each document held against its row.
 */

const samples = sampleFiles()
if (!samples) console.log('skipped in part: the sample databases are not beside this repository')

/** Of all tables of one database, on a machine that has other work, too. */
const DEADLINE_MS = 120_000

const mappingsSchema = z.object({ collections: z.record(z.string(), mappingSchema) })

const PLANNED = {
  live: undefined,
  generation: undefined,
  mode: 'full' as const,
  reason: 'asked for',
  rows: undefined,
  notices: [],
}

/** With the rows as they are, but for columns that hold what no search index has, and a key that is none. */
const UNFIT: Record<string, string[]> = { Component: ['rating'], PublishedComponent: ['rating'] }
const WITHOUT_ID = new Set(['_ComponentToTag'])
/** A view that takes a second each time. */
const SLOW = new Set(['actor_info'])

async function inferAll(session: Session): Promise<[alias: string, mapping: Mapping][]> {
  const tables = await session.query<{ table: string; name: string }>(
    `select format('%I.%I', n.nspname, c.relname) as table, c.relname as name
     from pg_class c join pg_namespace n on n.oid = c.relnamespace
     where c.relkind in ('r', 'p', 'v', 'm') and not c.relispartition
       and n.nspname not in ('pg_catalog', 'information_schema', 'pg_toast')
     order by 1`,
  )
  const mappings: [string, Mapping][] = []
  for (const { table, name } of tables) {
    if (WITHOUT_ID.has(name) || SLOW.has(name)) continue
    const { collections } = mappingsSchema.parse(parse(await inferMapping(session, table)))
    for (const [alias, mapping] of Object.entries(collections)) {
      const fields = mapping.fields.filter((field) => !UNFIT[name]?.includes(field.column ?? field.name))
      mappings.push([alias, { ...mapping, fields, verify: { ...mapping.verify, min_count: 0, sample: 20 } }])
    }
  }
  return mappings
}

/** Answers how many documents were compared. */
async function compareAll(scene: Scene, url: string): Promise<number> {
  const signal = AbortSignal.timeout(DEADLINE_MS)
  const database = { name: 'staging', url, viaProxy: false }
  await using session = await openSession(database, { purpose: 'test', signal, readOnly: true })
  let compared = 0
  for (const [alias, mapping] of await inferAll(session)) {
    const compiled = await compileMapping(session, alias, mapping)
    expect(await findUnfitRows(session, compiled), alias).toEqual([])
    const { collection = '' } = await scene.reindexPlanned(jobOf(1), { ...PLANNED, alias, compiled }, { database })
    const prepare = async (opened: Session) => expect(await prepareComparison(opened)).toBeUndefined()
    await using documents = await openDocuments({ database, signal }, alias, mapping, { purpose: 'test', prepare })
    const comparison = await compareDocuments(documents, scene.typesense, collection, signal)
    expect(comparison, alias).toEqual({ missing: 0, extra: 0, different: 0 })
    compared += documents.documents
  }
  return compared
}

/** One of them comes without its rows. */
async function refreshAll(client: pg.Client): Promise<void> {
  const { rows } = await client.query<{ name: string }>(
    `select format('%I.%I', schemaname, matviewname) as name from pg_matviews`,
  )
  for (const { name } of rows) await client.query(`refresh materialized view ${name}`)
}

test(
  'Every document of the parts database is what its row says',
  async () => {
    await using scene = await openScene({ deadlineMs: DEADLINE_MS })
    await using database = await createDatabase()
    await makePartsDatabase(database.url, { components: 1000 })
    expect(await compareAll(scene, database.url)).toBeGreaterThan(2000)
  },
  DEADLINE_MS,
)

for (const file of samples?.files ?? []) {
  test(
    `Every document of all tables and views of ${basename(file)} is what its row says`,
    async () => {
      await using scene = await openScene({ deadlineMs: DEADLINE_MS })
      await using database = await createDatabase()
      await loadSample(database.url, file)
      await refreshAll(await database.client())
      expect(await compareAll(scene, database.url)).toBeGreaterThan(100)
    },
    DEADLINE_MS,
  )
}
