import { CreateMultipartUploadCommand, S3Client } from '@aws-sdk/client-s3'
import { newJobId } from '@multiboard-sync/shared/job'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { openSession } from '../src/postgres/session.ts'
import { asideOf, createAside } from '../src/restore/stage/aside.ts'
import { readState } from './road/compare-databases.ts'
import { mustSucceed, runJobHere } from './road/values-job.ts'
import { openWorld, type World } from './road/world.ts'

/** What jobs leave behind, as the operator sees it (doctor), removes it (clean), and undoes without it. */

const DEADLINE_MS = 20_000
let world: World
beforeAll(async () => {
  world = await openWorld()
  const schema = 'create table a (id serial primary key, note text); '
  await (await world.source.client()).query(`${schema} insert into a (note) values ('new'), ('newer')`)
  await (await world.target.client()).query(`${schema} insert into a (note) values ('old')`)
})
afterAll(async () => await world[Symbol.asyncDispose]())

const schemas = async (): Promise<string[]> => {
  const { rows } = await (
    await world.target.client()
  ).query<{ name: string }>(`select nspname as name from pg_namespace where nspname ~ '^multiboard_sync_' order by 1`)
  return rows.map(({ name }) => name)
}

/** A stage such as a killed agent leaves. */
async function leaveStage(job: string): Promise<void> {
  const url = { name: 'staging', url: world.target.url, viaProxy: false }
  await using session = await openSession(url, { purpose: 'test', signal: AbortSignal.timeout(DEADLINE_MS) })
  await createAside(session, asideOf('stage', job, ['public']))
  await session.run(`create table multiboard_sync_stage_${job}_1.a (id int)`)
}

async function leaveUpload(archive: string): Promise<void> {
  const { store, bucket } = world
  const client = new S3Client({
    endpoint: store.endpoint,
    region: 'us-east-1',
    forcePathStyle: true,
    credentials: { accessKeyId: store.accessKeyId, secretAccessKey: store.secretAccessKey },
  })
  const key = `${world.env['S3_PREFIX']}/archives/${archive}/100-data/public.a/00009.sql.gz`
  await client.send(new CreateMultipartUploadCommand({ Bucket: bucket, Key: key }))
  client.destroy()
}

test('doctor shows what is left, clean removes what ended jobs have left and nothing else, and undo does without', async () => {
  const before = await readState(world.target.url)
  const synced = mustSucceed(await runJobHere(world, { kind: 'sync', source: 'production', target: 'staging' }))
  const [ours, strange] = [synced.receipt?.job ?? '', newJobId()]
  await leaveStage(ours)
  await leaveStage(strange)
  await leaveUpload(synced.archive?.id ?? '')
  const kept = [`multiboard_sync_prev_${ours}_1`, `multiboard_sync_stage_${strange}_1`]

  const { stdout } = await world.agent(['doctor'])
  expect(stdout).toMatch(new RegExp(`staging, leftovers: .*previous tables of ${ours} in staging: 1 table`))
  expect(stdout).toMatch(new RegExp(`stage of ${strange} in staging`))
  expect(stdout).toMatch(new RegExp(`open upload of ${ours}: \\S*archives/`))

  const planned = await world.agent(['clean', '--dry-run', '--json'])
  expect(planned).toMatchObject({ code: 0 })
  expect(await schemas()).toEqual([...kept, `multiboard_sync_stage_${ours}_1`].toSorted())

  const cleaned = await world.agent(['clean', '--json'])
  const told = ((cleaned.json?.['cleaned'] ?? []) as { kind: string; job: string; what: string }[]).map(
    ({ kind, job, what }) => `${kind} ${job} ${what.split(':')[0]}`,
  )
  expect(told.toSorted()).toEqual(
    [
      `previous ${ours} kept for an undo`,
      `stage ${ours} removed`,
      `stage ${strange} kept`,
      `upload ${ours} removed`,
    ].toSorted(),
  )
  expect(await schemas()).toEqual(kept.toSorted())
  expect(await world.store.openUploads(world.bucket)).toEqual([])

  // Without the previous tables the undo restores the safety backup, by a job with proof and previous tables of its own.
  expect((await world.agent(['clean', '--previous'])).stdout).toContain('removed')
  expect(await schemas()).toEqual([`multiboard_sync_stage_${strange}_1`])
  const undone = await world.agent(['undo', '--to', 'staging', ours, '--json'])
  expect(undone.json).toMatchObject({ outcome: 'succeeded', kind: 'undo', engine: 'swap', rows: 1, undoable: true })
  expect(await readState(world.target.url)).toEqual(before)

  const again = await world.agent(['undo', '--to', 'staging', '--json'])
  expect(again.json).toMatchObject({ outcome: 'succeeded' })
  const { rows } = await (await world.target.client()).query('select note from a order by id')
  expect(rows).toEqual([{ note: 'new' }, { note: 'newer' }])
  expect((await world.agent(['undo', newJobId(), '--to', 'staging', '--json'])).json).toMatchObject({
    outcome: 'refused',
    code: 'nothing-to-undo',
    target_state: 'untouched',
  })
}, 120_000)
