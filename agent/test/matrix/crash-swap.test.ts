import { crashes, fates } from './crash.ts'
import { around, CLOCK, COMMIT, EXCHANGE_LEASE, TERMINATED, type Point } from './points.ts'
import { syncBy } from './subjects.ts'

/** Before and after what follows each line of the journal. */
const steps: Point[] = [
  ...around(['accepted', 'archive-begun', 'archive-written', 'staging', 'staged', 'loaded', 'built', 'proven']),
  { step: 'backup-written', message: TERMINATED, where: 'before' },
  ...around(['committing']),
  ...around(['committed'], { leaves: 'after' }),
  { step: 'tidied', message: TERMINATED, where: 'before', leaves: 'after' },
  { step: 'upload-opened', where: 'before', isBig: true },
  { step: 'upload-opened', message: /PUT \S+\/backups\/\S+partNumber=1/, where: 'after', isBig: true },
]

/** In the middle of what lies between two lines. */
const middles: Point[] = [
  { step: 'staging', message: /create schema "multiboard_sync_stage/, where: 'after' },
  { step: 'staging', message: /set schema "multiboard_sync_hold/, where: 'after' },
  { step: 'staging', message: /CREATE TABLE public/, where: 'after' },
  { step: 'staging', message: /^Q.{4}commit/s, where: 'after' },
  { step: 'staging', message: /drop schema if exists "multiboard_sync_hold/, where: 'before' },
  { message: /copy "multiboard_sync_stage/, where: 'after' },
  { message: /CREATE UNIQUE INDEX .* ON multiboard_sync_stage/, where: 'after' },
  { step: 'built', message: /refresh materialized view/, where: 'after' },
]

/** In the exchange. */
const exchange: Point[] = [
  { step: 'committing', message: /share row exclusive/, where: 'after' },
  { step: 'committing', message: /"public".*access exclusive/s, where: 'after' },
  { step: 'committing', message: /set schema "multiboard_sync_prev/, where: 'after' },
  { step: 'committing', message: /drop schema "multiboard_sync_stage/, where: 'after' },
  { message: CLOCK, where: 'before' },
  { message: COMMIT, where: 'before', isFollowed: true },
  { message: COMMIT, where: 'after', leaves: 'after', isFollowed: true },
  { step: 'committed', message: /validate constraint/, where: 'before', leaves: 'after', isFollowed: true },
  { step: 'committed', message: /validate constraint/, where: 'after', leaves: 'after' },
]

crashes('swap', EXCHANGE_LEASE, (lane) => syncBy(lane, 'swap'), [
  ['killed', fates.killed, [...steps, ...middles, ...exchange]],
  [
    'killed with its end untold',
    fates['killed with its end untold'],
    [{ message: COMMIT, where: 'before', leaves: 'after' }],
  ],
])
