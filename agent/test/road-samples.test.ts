import { randomBytes } from 'node:crypto'
import { basename } from 'node:path'
import { loadSample, sampleFiles } from '@multiboard-sync/shared/testing/load-sample'
import { startPostgres } from '@multiboard-sync/shared/testing/postgres'
import { createDatabase } from '@multiboard-sync/shared/testing/test-database'
import pg from 'pg'
import { afterAll, beforeAll, describe, expect, inject, it } from 'vitest'
import { readCopied } from './road/compare-databases.ts'
import { mustSucceed, runJobHere } from './road/values-job.ts'
import { hasTool, majorOfPgDump, pgDump, restoreWithPsql } from './road/values-tools.ts'
import { openWorld, type World } from './road/world.ts'

const samples = sampleFiles()
if (!samples) console.log('skipped: the sample databases are not beside this repository')
const psql = hasTool('psql')
if (!psql) console.log('skipped in part: psql is not on the PATH')

/** Rows lost, rows doubled where no key forbids it, and sequences moved on, in every table and without a word from triggers. */
const CHANGES = `
set session_replication_role = replica;
do $do$ declare t record; begin
  for t in select c.oid::regclass as name, c.oid, c.relhasindex from pg_class c join pg_namespace n on n.oid = c.relnamespace
           where c.relkind = 'r' and n.nspname !~ '^(pg_|information_schema|multiboard)' loop
    execute format('delete from only %s where (ctid::text::point)[1]::int %% 3 = 0', t.name);
    if not exists (select from pg_index i where i.indrelid = t.oid and i.indisunique) then
      execute format('insert into %s select * from %1$s limit 5', t.name);
    end if;
  end loop;
  for t in select c.oid::regclass as name from pg_class c join pg_namespace n on n.oid = c.relnamespace
           where c.relkind = 'S' and n.nspname !~ '^(pg_|multiboard)' loop
    perform nextval(t.name) from generate_series(1, 9);
  end loop;
end $do$;
reset session_replication_role;`

let world: World
/** Makes an empty database and answers its URL. */
let makeDatabase: () => Promise<string>
let pgDumpRuns = false
const opened = new AsyncDisposableStack()

/** The run's own server; or one of pg_dump's major, where pg_dump is older than that and cannot read it. */
beforeAll(async () => {
  if (!samples) return
  world = opened.use(await openWorld())
  makeDatabase = async () => opened.use(await createDatabase()).url
  const dumpMajor = await majorOfPgDump()
  pgDumpRuns = dumpMajor !== undefined && dumpMajor >= inject('postgres').major
  if (dumpMajor === undefined) console.log('skipped in part: pg_dump is not on the PATH')
  if (dumpMajor === undefined || pgDumpRuns) return
  try {
    const server = opened.use(await startPostgres({ major: dumpMajor }))
    makeDatabase = async () => {
      const name = `sample_${randomBytes(6).toString('hex')}`
      const client = new pg.Client({ connectionString: server.url('postgres') })
      await client.connect()
      await client.query(`create database ${name} template template0`)
      await client.end()
      return server.url(name)
    }
    pgDumpRuns = true
  } catch (error) {
    console.log(`skipped in part: no server for pg_dump ${dumpMajor}: ${String(error).slice(0, 200)}`)
  }
}, 300_000)
afterAll(async () => await opened.disposeAsync())

describe.skipIf(!samples)('a sample database', () => {
  it.each((samples?.files ?? []).map((file) => ({ name: basename(file), file })))(
    '$name is the same after a sync into nothing, after one over changes, and after psql alone',
    async ({ file }) => {
      const [source, target, plain] = [await makeDatabase(), await makeDatabase(), await makeDatabase()]
      await loadSample(source, file)
      const wanted = await readCopied(source)
      const dump = async (url: string): Promise<string[]> => (pgDumpRuns ? await pgDump(url) : [])
      const dumped = await dump(source)
      const sync = async (engine: 'create' | 'truncate') =>
        mustSucceed(
          await runJobHere(
            world,
            { kind: 'sync', source: 'production', target: 'staging', engine },
            { env: { PRODUCTION_DATABASE_URL: source, STAGING_DATABASE_URL: target } },
          ),
        )

      const first = await sync('create')
      expect(first).toMatchObject({ engine: 'create' })
      expect(await readCopied(target)).toEqual(wanted)
      expect(await dump(target)).toEqual(dumped)

      await change(target)
      expect((await readCopied(target)).tables).not.toEqual(wanted.tables)
      expect(await sync('truncate')).toMatchObject({ engine: 'truncate' })
      expect(await readCopied(target)).toEqual(wanted)
      expect(await dump(target)).toEqual(dumped)

      if (!psql) return
      await restoreWithPsql(world, first.archive?.id, plain)
      expect(await readCopied(plain)).toEqual(wanted)
      expect(await dump(plain)).toEqual(dumped)
    },
  )
})

async function change(url: string): Promise<void> {
  const client = new pg.Client({ connectionString: url })
  await client.connect()
  try {
    await client.query(CHANGES)
  } finally {
    await client.end()
  }
}
