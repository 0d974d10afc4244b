import { crashes, fates, frozenFor } from './crash.ts'
import { around, CLOCK, COMMIT, EXCHANGE_LEASE, PAST_EXCHANGE_LEASE_MS, TERMINATED, type Point } from './points.ts'
import { undoOfSwap } from './subjects.ts'

const middles: Point[] = [
  { step: 'committing', message: /share row exclusive/, where: 'after' },
  { step: 'committing', message: /"public".*access exclusive/s, where: 'after' },
  { step: 'committing', message: /set schema "multiboard_sync_prev/, where: 'after' },
  { step: 'committing', message: /drop schema "multiboard_sync_prev/, where: 'after' },
]
const commit: Point[] = [
  { message: CLOCK, where: 'after' },
  { message: COMMIT, where: 'before', isFollowed: true },
  { message: COMMIT, where: 'after', leaves: 'after', isFollowed: true },
]
const validating: Point = { step: 'committed', message: /validate constraint/, where: 'before', leaves: 'after' }

crashes('undo', EXCHANGE_LEASE, undoOfSwap, [
  [
    'killed',
    fates.killed,
    [
      ...around(['accepted', 'committing']),
      ...middles,
      ...commit,
      ...around(['committed'], { leaves: 'after' }),
      validating,
      { step: 'tidied', message: TERMINATED, where: 'before', leaves: 'after' },
    ],
  ],
  [
    'killed with its end untold',
    fates['killed with its end untold'],
    [{ message: COMMIT, where: 'before', leaves: 'after' }],
  ],
  ['cut off', fates['cut off'], [...around(['committing'], { gate: 'target' }), ...middles, ...commit, validating]],
  ['canceled by its host', fates['canceled by its host'], [...middles.slice(1, 3), ...commit]],
  ['frozen', frozenFor(PAST_EXCHANGE_LEASE_MS), commit.slice(0, 2)],
])
