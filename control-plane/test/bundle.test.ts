import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import { createDatabase } from '@multiboard-sync/shared/testing/test-database'
import { expect, test } from 'vitest'
import { allFrames, openStream } from './read-stream.ts'
import { startBundle } from './start-bundle.ts'
import { eventsOf, startSurroundings } from './surroundings.ts'

const sync = { kind: 'sync', source: 'production', target: 'staging' }
const migrations = new URL('../src/run-migrations.ts', import.meta.url).pathname
const COMMAND_TIMEOUT_MS = 20_000

test('the bundle alone, in plain Node, answers for its health, a poll, an order and a stream', async () => {
  await using here = await startSurroundings({}, { start: startBundle })
  expect(await here.person('GET', '/healthz')).toMatchObject({ status: 200, body: { ok: true } })
  const agent = await here.registerAgent('vps')
  const { id } = await here.ask(sync)
  const order = await agent.begin()
  await agent.report(order, eventsOf(1, 3))
  const reading = openStream(`${here.control.url}/v1/jobs/${id}/events`).then(allFrames)
  await agent.complete(order, {}, 3)
  const frames = await reading
  expect(frames.filter(({ event }) => event === 'event')).toHaveLength(7)
  expect(frames.at(-1)).toMatchObject({ event: 'end', data: { state: 'succeeded' } })
  expect(here.logged).toEqual([])
})

test('the migrations are a command that needs nothing but the database, may be repeated, and never shows its URL', async () => {
  await using database = await createDatabase()
  const run = async (env: Record<string, string>) =>
    await promisify(execFile)(process.execPath, [migrations], { env, timeout: COMMAND_TIMEOUT_MS })
  const { stdout } = await run({ DATABASE_URL: database.url })
  expect(stdout).toContain('Ran 0001_')
  expect((await run({ DATABASE_URL: database.url })).stdout).toBe('The database is up to date.\n')
  await expect(run({})).rejects.toMatchObject({ code: 1, stderr: expect.stringContaining('DATABASE_URL is missing') })
  const away = run({ DATABASE_URL: 'postgres://user:hunter2@127.0.0.1:1/x' })
  await expect(away).rejects.toMatchObject({ code: 1, stderr: expect.stringContaining('ECONNREFUSED') })
  await expect(away).rejects.not.toMatchObject({ stderr: expect.stringContaining('hunter2') })
})
