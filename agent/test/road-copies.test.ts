import { chmod, chown, cp, mkdtemp, readdir, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { startPostgres } from '@multiboard-sync/shared/testing/postgres'
import pg from 'pg'
import { expect, test } from 'vitest'
import { mustSucceed, runJobHere } from './road/values-job.ts'
import { openWorld } from './road/world.ts'

const sync = { kind: 'sync', source: 'production', target: 'staging', engine: 'auto' } as const
const settings = { shared_buffers: '16MB' }

test('a physical copy of the source is another database, and a standby of the target is not', async () => {
  await using made = new AsyncDisposableStack()
  const world = made.use(await openWorld())
  const folder = await mkdtemp(join(tmpdir(), 'copies-'))
  made.defer(async () => await rm(folder, { recursive: true, force: true }))
  await chmod(folder, 0o755)
  const [original, copy] = [join(folder, 'original'), join(folder, 'copy')]
  const first = await startPostgres({ dataDir: original, settings })
  await ask(first.url('postgres'), 'create table part as select n as id from generate_series(1, 3) n')
  await first.stop()
  await cp(original, copy, { recursive: true, preserveTimestamps: true })
  await chownLike(original, copy)

  const target = made.use(await startPostgres({ dataDir: original, settings }))
  await ask(target.url('postgres'), 'delete from part')
  const source = await startPostgres({ dataDir: copy, settings })
  const env = { PRODUCTION_DATABASE_URL: source.url('postgres'), STAGING_DATABASE_URL: target.url('postgres') }
  mustSucceed(await runJobHere(world, sync, { env }))
  expect(await ask(target.url('postgres'), 'select count(*)::int as rows from part')).toEqual([{ rows: 3 }])

  await source.stop()
  // Recovery that never ends: a standby that has the target's identifiers.
  await writeFile(join(copy, 'standby.signal'), '')
  const standby = made.use(await startPostgres({ dataDir: copy, settings }))
  const result = await runJobHere(world, sync, { env: { ...env, PRODUCTION_DATABASE_URL: standby.url('postgres') } })
  expect(result).toMatchObject({ outcome: 'refused', code: 'same-database', target_state: 'untouched' })
})

async function ask(url: string, sql: string): Promise<object[]> {
  const client = new pg.Client(url)
  await client.connect()
  try {
    return (await client.query<object>(sql)).rows
  } finally {
    await client.end()
  }
}

/** The server runs as the owner of its files; a copy made by root belongs to root. */
async function chownLike(original: string, copied: string): Promise<void> {
  const { uid, gid } = await stat(original)
  const names = await readdir(copied, { recursive: true })
  for (const name of ['.', ...names]) await chown(join(copied, name), uid, gid)
}
