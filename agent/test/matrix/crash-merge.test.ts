import { crashes, fates, frozenFor } from './crash.ts'
import { around, CLOCK, COMMIT, LEASE, PAST_LEASE_MS, TERMINATED, type Point } from './points.ts'
import { syncBy } from './subjects.ts'

const copying: Point = { message: /copy "multiboard_sync_stage/, where: 'after' }
const middles: Point[] = [
  { step: 'staging', message: /create unlogged table/, where: 'after' },
  copying,
  { step: 'proven', message: /share row exclusive/, where: 'after' },
  { step: 'proven', message: /delete from/, where: 'after' },
  { step: 'proven', message: /insert into "public"/, where: 'after' },
  { step: 'proven', message: /refresh materialized view/i, where: 'after' },
]
const commit: Point[] = [
  { message: CLOCK, where: 'after' },
  { message: COMMIT, where: 'before', isFollowed: true },
  { message: COMMIT, where: 'after', leaves: 'after', isFollowed: true },
]

crashes('merge', LEASE, (lane) => syncBy(lane, 'merge'), [
  [
    'killed',
    fates.killed,
    [
      // Between 'built' and 'proven' nobody is asked anything.
      ...around(['accepted', 'archive-begun', 'archive-written', 'staging', 'staged', 'loaded', 'proven']),
      { step: 'backup-written', message: TERMINATED, where: 'before' },
      ...around(['committing']),
      ...around(['committed'], { leaves: 'after' }),
      { step: 'committed', message: /drop schema/, where: 'before', leaves: 'after' },
      { step: 'tidied', message: TERMINATED, where: 'before', leaves: 'after' },
      ...commit.slice(1),
    ],
  ],
  [
    'cut off',
    fates['cut off'],
    [
      ...around(['staging'], { gate: 'target' }),
      ...middles.filter((point) => point !== copying),
      // These cost another try, and not the job.
      ...around(['loaded', 'proven'], { gate: 'target', leaves: 'after' }),
      { ...copying, leaves: 'after' },
      ...commit,
      { step: 'committed', gate: 'target', where: 'before', leaves: 'after' },
    ],
  ],
  ['canceled', fates.canceled, [...middles.slice(0, 5), { message: COMMIT, where: 'after', leaves: 'after' }]],
  ['canceled by its host', fates['canceled by its host'], commit.slice(1)],
  ['frozen', frozenFor(PAST_LEASE_MS), commit.slice(0, 2)],
])
