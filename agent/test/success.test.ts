import { Readable } from 'node:stream'
import { afterAll, beforeAll, beforeEach, expect, test, vi } from 'vitest'
import { expectRefusal } from './road/refusal.ts'
import { syncHere } from './road/values-job.ts'
import { openWorld, type World } from './road/world.ts'

/*
 * What a job that says `succeeded` has proven: here each thing that it must find is changed behind its back, in the code or
 * in the databases. The search index has its own such tests (search-full.test.ts).
 */

const SQL = `
create table public.part (id int primary key, name text not null);
insert into public.part select n, 'row-' || n from generate_series(1, 200) n;`

/** What happens to the rows between the archive, whose sums they have passed or pass at the same time, and the target. */
let onTheWay: ((copyText: string) => string) | undefined
/** What happens to the archive between its last byte and the restore of it. */
let beforeReading: (() => Promise<void>) | undefined

vi.mock('../src/archive/open-rows.ts', async (original) => {
  const real = await original<typeof import('../src/archive/open-rows.ts')>()
  const openRows: typeof real.openRows = (...facts) => {
    const rows = real.openRows(...facts)
    const change = onTheWay
    if (!change) return rows
    return Readable.from(
      (async function* () {
        const text = (await rows.toArray()).join('')
        yield Buffer.from(change(text))
      })(),
      { objectMode: false },
    )
  }
  return { ...real, openRows }
})
vi.mock('../src/export/tee.ts', async (original) => {
  const real = await original<typeof import('../src/export/tee.ts')>()
  const teeInto: typeof real.teeInto = (sink, rows) => {
    const change = onTheWay
    if (!change) return real.teeInto(sink, rows)
    // These rows are one chunk.
    return (async function* () {
      for await (const chunk of rows) {
        sink.write(Buffer.from(change(chunk.toString())))
        yield chunk
      }
    })()
  }
  return { ...real, teeInto }
})
vi.mock('../src/archive/archive-reader.ts', async (original) => {
  const real = await original<typeof import('../src/archive/archive-reader.ts')>()
  const openArchive: typeof real.openArchive = async (...facts) => {
    const opened = await real.openArchive(...facts)
    await beforeReading?.()
    return opened
  }
  return { ...real, openArchive }
})

let world: World
beforeAll(async () => {
  world = await openWorld({ source: { sql: SQL } })
  await syncHere(world)
})
afterAll(async () => await world[Symbol.asyncDispose]())
beforeEach(async () => {
  onTheWay = undefined
  beforeReading = undefined
  const client = await world.target.client()
  await client.query('drop trigger if exists swallow on multiboard_sync.receipts')
})

const failed = { outcome: 'failed', storesObjects: true } as const
// A swap loads beside the live tables and has changed nothing yet; the others roll back.
const engines = [
  { engine: 'truncate', target_state: 'rolled_back' },
  { engine: 'swap', target_state: 'untouched' },
] as const

for (const { engine, target_state } of engines) {
  const sync = { kind: 'sync', source: 'production', target: 'staging', engine }

  test(`G4: ${engine} does not succeed when a row is missing from the target`, async () => {
    onTheWay = (text) => text.slice(0, text.lastIndexOf('\n', text.length - 2) + 1)
    const { message } = await expectRefusal(world, sync, { ...failed, target_state, code: 'proof-failed' })
    expect(message).toBe('Of public.part 200 rows were sent and the server counted 199.')
  })

  test(`G4: ${engine} does not succeed when a value in the target is another`, async () => {
    onTheWay = (text) => text.replace('row-17\n', 'row-71\n')
    const { details } = await expectRefusal(world, sync, { ...failed, target_state, code: 'proof-failed' })
    expect(details).toEqual(['public.part: the checksum differs'])
  })

  test(`G4: ${engine} does not succeed when a byte of the archive is another`, async () => {
    const newest = async (): Promise<string> =>
      (await world.store.keys(world.bucket)).filter((key) => /\/archives\/.*\/100-data\//.test(key)).at(-1) ?? ''
    beforeReading = async () => await world.store.flipByte(world.bucket, await newest(), 20)
    // A swap takes its rows on their way into the archive; it reads those that it restores.
    const [, archive] = /\/archives\/([^/]+)\//.exec(await newest()) ?? []
    const job = engine === 'swap' ? { kind: 'restore', archive, target: 'staging', engine } : sync
    await expectRefusal(world, job, { ...failed, target_state, code: 'archive-damaged' })
  })

  test(`G4: ${engine} does not succeed when its receipt is not in the target`, async () => {
    const client = await world.target.client()
    await client.query(`
      create or replace function public.swallow() returns trigger language plpgsql as $$ begin return null; end $$;
      create trigger swallow before insert on multiboard_sync.receipts for each row execute function public.swallow()`)
    await expectRefusal(world, sync, { ...failed, target_state: 'rolled_back', code: 'proof-failed' })
  })
}
