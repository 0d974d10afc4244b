import pg from 'pg'
import { afterAll, beforeAll, test } from 'vitest'
import { startPostgres, type PostgresServer } from '../../../shared/testing/postgres.ts'
import { openLane, type Lane } from './open-lane.ts'
import { openMatrix } from './open-matrix.ts'
import { EXCHANGE_LEASE } from './points.ts'
import { TARGET_SQL } from './shop.ts'
import { openSmallDisk, type SmallDisk } from './small-disk.ts'
import { syncBy } from './subjects.ts'
import { tally } from './tally.ts'

/*
 * The disk of the target is full in the middle of the load: a tablespace on a small disk, on a server of its own, because
 * a server with a full tablespace cannot do its checkpoints.
 */

const DISK_BYTES = 160e6
/** Less than the big table takes. */
const LEFT_BYTES = 4e6

let made: AsyncDisposableStack
let lane: Lane
let disk: SmallDisk | string

beforeAll(async () => {
  made = new AsyncDisposableStack()
  disk = await openSmallDisk(DISK_BYTES)
  if (typeof disk === 'string') return
  made.use(disk)
  const server = made.use(await startPostgres())
  await query(server, 'postgres', `create tablespace small location '${disk.folder}'`)
  await query(server, 'postgres', 'create database filled')
  await query(server, 'postgres', 'create database empty')
  await query(server, 'filled', TARGET_SQL)
  lane = made.use(await openLane(EXCHANGE_LEASE, (database) => server.url(database)))
})
afterAll(async () => await made.disposeAsync())

async function query(server: PostgresServer, database: string, sql: string): Promise<void> {
  const client = new pg.Client({ connectionString: server.url(database) })
  await client.connect()
  await client.query(sql)
  await client.end()
}

for (const engine of ['swap', 'merge', 'truncate', 'create'] as const) {
  test(`with the target's disk full, ${engine} leaves the target as it was`, async (context) => {
    if (typeof disk === 'string') return context.skip(disk)
    const small = disk
    const reset = async () => await lane.reset(engine === 'create' ? 'empty' : 'filled', 'small')
    const matrix = await openMatrix(lane, { ...syncBy(lane, engine), reset })
    await tally(engine, 'on a full disk', async () => {
      const point = { where: 'before', isBig: true, isFollowed: true } as const
      await matrix.under(point, async () => await small.fill(LEFT_BYTES), ['disk-full'])
    })
  })
}
