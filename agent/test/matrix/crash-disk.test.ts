import { afterAll, beforeAll, test } from 'vitest'
import { openLane, type Lane } from './open-lane.ts'
import { openMatrix } from './open-matrix.ts'
import { EXCHANGE_LEASE } from './points.ts'
import { shop } from './shop.ts'
import { openSmallDisk, type SmallDisk } from './small-disk.ts'
import { syncBy } from './subjects.ts'
import { tally } from './tally.ts'

/* The disk of the target is full in the middle of the load. */

const DISK_BYTES = 160e6
/** Less than the big table takes. */
const LEFT_BYTES = 4e6

let lane: Lane
let disk: SmallDisk | string

beforeAll(async () => {
  disk = await openSmallDisk(DISK_BYTES)
  lane = await openLane(EXCHANGE_LEASE)
})
afterAll(async () => {
  await lane[Symbol.asyncDispose]()
  if (typeof disk !== 'string') await disk[Symbol.asyncDispose]()
})

for (const engine of ['swap', 'merge', 'truncate', 'create'] as const) {
  test(`with the target's disk full, ${engine} leaves the target as it was`, async (context) => {
    if (typeof disk === 'string') return context.skip(disk)
    const small = disk
    const subject = syncBy(lane, engine)
    const reset = async () =>
      await lane.reset(await (engine === 'create' ? shop.empty() : shop.target()), small.tablespace)
    const matrix = await openMatrix(lane, { ...subject, reset })
    await tally(engine, 'on a full disk', async () => {
      const point = { where: 'before', isBig: true, isFollowed: true } as const
      await matrix.under(point, async () => await small.fill(LEFT_BYTES), ['disk-full'])
    })
  })
}
