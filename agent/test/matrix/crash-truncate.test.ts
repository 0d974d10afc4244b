import { crashes, fates, frozenFor } from './crash.ts'
import { around, CLOCK, COMMIT, LEASE, PAST_LEASE_MS, TERMINATED, type Point } from './points.ts'
import { syncBy } from './subjects.ts'

const middles: Point[] = [
  { step: 'backup-written', message: /lock table/, where: 'after' },
  { step: 'backup-written', message: /truncate only/, where: 'after' },
  { step: 'backup-written', message: /copy "public"/, where: 'after' },
  { step: 'backup-written', message: /add constraint/, where: 'after' },
]
const commit: Point[] = [
  { message: CLOCK, where: 'after' },
  { message: COMMIT, where: 'before', isFollowed: true },
  { message: COMMIT, where: 'after', leaves: 'after', isFollowed: true },
]

crashes('truncate', LEASE, (lane) => syncBy(lane, 'truncate'), [
  [
    'killed',
    fates.killed,
    [
      ...around(['accepted', 'archive-begun', 'archive-written', 'backup-written', 'committing']),
      { step: 'committed', message: TERMINATED, where: 'before', leaves: 'after' },
      ...commit.slice(1),
    ],
  ],
  ['cut off', fates['cut off'], [{ step: 'backup-written', gate: 'target', where: 'before' }, ...middles, ...commit]],
  ['canceled', fates.canceled, [...middles.slice(1, 3), { message: COMMIT, where: 'after', leaves: 'after' }]],
  ['canceled by its host', fates['canceled by its host'], commit.slice(1)],
  ['frozen', frozenFor(PAST_LEASE_MS), commit.slice(0, 2)],
])
