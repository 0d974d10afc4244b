import { createDatabase } from '@multiboard-sync/shared/testing/test-database'
import { expect, inject, it } from 'vitest'
import { readCopied, readState } from './road/compare-databases.ts'
import { mustSucceed, runJobHere, syncHere } from './road/values-job.ts'
import { BREAKAGE, valuesSchema } from './road/values-schema.ts'
import { openWorld } from './road/world.ts'

it('every type, name and kind of table arrives in an empty target, and again in a changed one', async () => {
  await using world = await openWorld({ source: { sql: valuesSchema(inject('postgres').major) } })
  const wanted = await readCopied(world.source.url)

  expect(await syncHere(world)).toMatchObject({ engine: 'create', target_state: 'changed' })
  expect(await readCopied(world.target.url)).toEqual(wanted)

  const client = await world.target.client()
  await client.query(BREAKAGE)
  const before = await readState(world.target.url)
  expect(before.tables).not.toEqual(wanted.tables)
  expect(before.sequences).not.toEqual(wanted.sequences)

  expect(await syncHere(world, { engine: 'truncate' })).toMatchObject({ engine: 'truncate', target_state: 'changed' })
  const after = await readState(world.target.url)
  expect(after.tables).toEqual(wanted.tables)
  expect(after.sequences).toEqual(wanted.sequences)
  expect(after.definitions).toEqual(before.definitions)

  // Whatever the others are called, they stay out of a copy of one; and so does one with a name like that alone.
  for (const name of ['one.same', '"up/../../etc"."../passwd %2e%2e"']) {
    await using other = await createDatabase()
    const env = { STAGING_DATABASE_URL: other.url }
    const params = { kind: 'sync', source: 'production', target: 'staging', tables: [name] }
    mustSucceed(await runJobHere(world, params, { env }))
    const { tables } = await readCopied(other.url)
    expect(Object.values(tables)).toEqual([wanted.tables[name]])
    expect(Object.keys(tables)).toEqual([name])
  }
})
