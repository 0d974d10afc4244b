import { crashes, fates, frozenFor } from './crash.ts'
import { around, CLOCK, COMMIT, EXCHANGE_LEASE, PAST_EXCHANGE_LEASE_MS, type Point } from './points.ts'
import { syncBy } from './subjects.ts'

/* The agent lives on: it loses a connection, is canceled, or stands still for longer than its lease. */

const beforeExchange: Point[] = [
  { step: 'archive-begun', gate: 'source', where: 'after' },
  ...around(['staging'], { gate: 'target' }),
  { step: 'staging', message: /CREATE TABLE public/, where: 'after' },
  { step: 'staging', message: /^Q.{4}commit/s, where: 'after' },
]

/** A connection that costs another try, and not the job. */
const tried: Point[] = [
  { step: 'accepted', gate: 'source', where: 'after', leaves: 'after' },
  { message: /copy "multiboard_sync_stage/, where: 'after', leaves: 'after' },
  { step: 'archive-written', gate: 'target', where: 'after', leaves: 'after' },
  ...around(['loaded', 'built', 'proven'], { gate: 'target', leaves: 'after' }),
  { step: 'built', message: /refresh materialized view/, where: 'after', leaves: 'after' },
]

const exchange: Point[] = [
  ...around(['committing'], { gate: 'target' }),
  { step: 'committing', message: /"public".*access exclusive/s, where: 'after' },
  { step: 'committing', message: /set schema "multiboard_sync_prev/, where: 'after' },
  { message: CLOCK, where: 'after' },
  { message: COMMIT, where: 'before', isFollowed: true },
]

const committed: Point[] = [
  { message: COMMIT, where: 'after', leaves: 'after', isFollowed: true },
  { step: 'committed', gate: 'target', where: 'before', leaves: 'after' },
]
const validating: Point = { step: 'committed', message: /validate constraint/, where: 'before', leaves: 'after' }

crashes('swap', EXCHANGE_LEASE, (lane) => syncBy(lane, 'swap'), [
  ['cut off', fates['cut off'], [...beforeExchange, ...tried, ...exchange, ...committed, validating]],
  [
    'canceled',
    fates.canceled,
    [
      { step: 'archive-begun', where: 'after' },
      { step: 'staging', message: /CREATE TABLE public/, where: 'after' },
      { message: /copy "multiboard_sync_stage/, where: 'after' },
      { step: 'loaded', gate: 'target', where: 'before' },
      { step: 'built', message: /refresh materialized view/, where: 'after' },
      { step: 'committing', message: /set schema "multiboard_sync_prev/, where: 'after', leaves: 'after' },
      { message: COMMIT, where: 'after', leaves: 'after' },
    ],
  ],
  [
    'canceled by its host',
    fates['canceled by its host'],
    [
      { step: 'committing', message: /set schema "multiboard_sync_prev/, where: 'after' },
      { message: COMMIT, where: 'before', isFollowed: true },
      { message: COMMIT, where: 'after', leaves: 'after', isFollowed: true },
    ],
  ],
  [
    'frozen',
    frozenFor(PAST_EXCHANGE_LEASE_MS),
    [
      { step: 'committing', message: /"public".*access exclusive/s, where: 'before' },
      { message: CLOCK, where: 'after' },
      { message: COMMIT, where: 'before', isFollowed: true },
    ],
  ],
])
