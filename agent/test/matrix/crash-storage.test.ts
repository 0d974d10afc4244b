import { crashes, fates, type Crash } from './crash.ts'
import { EXCHANGE_LEASE, LEASE, type Point } from './points.ts'
import { syncBy } from './subjects.ts'

/*
 * The store fails for good at a point: it refuses one kind of request, as when a right of the key was taken away. And it
 * loses its connections, which costs nothing but another try.
 */

const DENIED = denied()

function denied(): string {
  const body = '<?xml version="1.0" encoding="UTF-8"?><Error><Code>AccessDenied</Code><Message>no</Message></Error>'
  const head = ['HTTP/1.1 403 Forbidden', 'content-type: application/xml', 'connection: close']
  return `${[...head, `content-length: ${body.length}`].join('\r\n')}\r\n\r\n${body}`
}

/** The point's message is refused, and every one like it. */
const refused: Crash = async (matrix, point, lane) => {
  const { store } = lane.gates
  const open = async (): Promise<AsyncDisposable> => {
    if (point.message) store.answer(point.message, DENIED)
    const mend = async (): Promise<void> => await Promise.resolve(store.answer(/./, undefined))
    return await Promise.resolve({ [Symbol.asyncDispose]: mend })
  }
  await matrix.under(point, open, ['storage-auth', 'storage-failed'])
}

const exported: Point[] = [
  { message: /PUT \S+\/archives\/\S+partNumber=2/, where: 'before', isBig: true },
  { message: /PUT \S+\/archives\/\S+\/manifest\.json\?/, where: 'before' },
]
/** While rows flow into both. */
const flowing: Point[] = [{ message: /PUT \S+\/archives\/\S+\/100-data\//, where: 'before', isFollowed: true }]
/** Only a truncate reads its archive. */
const loading: Point[] = [{ message: /GET \S+\/archives\/\S+\/100-data\//, where: 'before', isFollowed: true }]
const backedUp: Point[] = [
  { message: /PUT \S+\/backups\/\S+partNumber=2/, where: 'before', isBig: true },
  { message: /PUT \S+\/backups\/\S+\/manifest\.json\?/, where: 'before', isFollowed: true },
]
const lost = (message: RegExp): Point => ({ gate: 'store', message, where: 'after', leaves: 'after' })
const lostParts = [lost(/PUT \S+\/backups\/\S+\/100-data\//), lost(/PUT \S+\/archives\/\S+\/100-data\//)]
const lostRead = [lost(/GET \S+\/archives\/\S+\/100-data\//)]

crashes('swap', EXCHANGE_LEASE, (lane) => syncBy(lane, 'swap'), [
  ['refused by the store', refused, [...exported, ...backedUp, ...flowing]],
  ['cut off from the store', fates['cut off'], lostParts],
])
crashes('merge', LEASE, (lane) => syncBy(lane, 'merge'), [
  ['refused by the store', refused, [...backedUp.slice(1), ...flowing]],
  ['cut off from the store', fates['cut off'], lostParts],
])
crashes('truncate', LEASE, (lane) => syncBy(lane, 'truncate'), [
  ['refused by the store', refused, [...backedUp.slice(1), ...loading]],
  ['cut off from the store', fates['cut off'], lostRead],
])
crashes('create', LEASE, (lane) => syncBy(lane, 'create'), [
  ['refused by the store', refused, [...exported.slice(1), ...flowing]],
  ['cut off from the store', fates['cut off'], lostParts.slice(1)],
])
