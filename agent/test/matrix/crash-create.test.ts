import { crashes, fates, frozenFor } from './crash.ts'
import { around, CLOCK, COMMIT, LEASE, PAST_LEASE_MS, TERMINATED, type Point } from './points.ts'
import { syncBy } from './subjects.ts'

const middles: Point[] = [
  { step: 'archive-begun', message: /CREATE TABLE public/, where: 'after' },
  { gate: 'target', message: /copy "public"/, where: 'after' },
  { message: /ADD CONSTRAINT/, where: 'after' },
]
const commit: Point[] = [
  { message: CLOCK, where: 'after' },
  { message: COMMIT, where: 'before', isFollowed: true },
  { message: COMMIT, where: 'after', leaves: 'after', isFollowed: true },
]

crashes('create', LEASE, (lane) => syncBy(lane, 'create'), [
  [
    'killed',
    fates.killed,
    [
      ...around(['accepted', 'archive-begun', 'archive-written', 'committing']),
      { step: 'committed', message: TERMINATED, where: 'before', leaves: 'after' },
      ...commit.slice(1),
    ],
  ],
  ['cut off', fates['cut off'], [...middles, ...commit]],
  ['canceled', fates.canceled, [...middles.slice(0, 2), { message: COMMIT, where: 'after', leaves: 'after' }]],
  ['canceled by its host', fates['canceled by its host'], commit.slice(1)],
  ['frozen', frozenFor(PAST_LEASE_MS), commit.slice(0, 2)],
])
