import type { Mapping } from '@multiboard-sync/shared/mapping'
import type { Session } from '../../postgres/session.ts'
import type { Typesense } from '../../typesense/typesense.ts'
import type { PlannedReindex } from '../planned-reindex.ts'
import { checkCapacity, type Expected } from './check-capacity.ts'
import { inSnapshot } from './in-snapshot.ts'
import { inspectCollection, type InspectedCollection } from './inspect-collection.ts'
import { inspectServer, type SearchServer } from './inspect-server.ts'
import { closed, isClosed, notReady } from './not-ready.ts'

/*
 * Preflight: everything that can be known of the search before the database is touched.
 *
 * Promises: every finding of every collection at once, each with what to do; a mode and a reason for each alias, so that a
 * plan can be shown before it runs. Never: writes anything, to the search server or to the database (probe-rights.ts tells
 * how rights are found out); stops at the first finding, unless the server cannot be asked at all.
 */

export interface ReindexRequest {
  typesense: Typesense
  mappings: [alias: string, mapping: Mapping][]
  /** Whose catalogue and rows: the source's snapshot for a sync, else the target. In a transaction, or in none. */
  session: Session
  /** Look at the rows, too: those that will be indexed are there already. */
  checkRows: boolean
  /** A new generation is asked for. */
  full: boolean
  /** How long writes may wait in the server's queue before it is a finding. */
  settleMs?: number
}

/** Enough for writes of the moment; after a restart of the server it takes minutes, and the plan says so. */
const SETTLE_MS = 10_000

export interface Inspected {
  server: SearchServer
  collections: InspectedCollection[]
  /** Of the server and of all collections, each with its name before it. */
  findings: string[]
}

/** Throws `search-not-ready` with every finding in its details. */
export async function planReindex(request: ReindexRequest, signal: AbortSignal): Promise<PlannedReindex[]> {
  const { collections, findings, server } = await inspectReindex(request, signal)
  if (findings.length > 0) throw notReady(findings)
  return collections.flatMap(({ alias, compiled, live, generation, mode, reason, rows, notices }, index) => {
    if (!compiled) return []
    // What concerns the server is told with the first of them.
    const all = index === 0 ? [...notices, ...server.notices] : notices
    return [{ alias, compiled, live, generation, mode, reason, rows: rows?.documents, notices: all }]
  })
}

/** The same, without a verdict. Throws `search-not-ready` only when the server does not answer, or not to this key. */
export async function inspectReindex(request: ReindexRequest, signal: AbortSignal): Promise<Inspected> {
  const { typesense, session, settleMs = SETTLE_MS } = request
  const server = await inspectServer(typesense, { settleMs, signal })
  const looking = { ...request, server }
  const collections: InspectedCollection[] = []
  try {
    await inSnapshot(session, async () => {
      for (const [alias, mapping] of request.mappings) {
        collections.push(await inspectCollection(looking, alias, mapping))
      }
    })
  } catch (error) {
    throw isClosed(error) ? closed(error) : error
  }
  const fits = server.capacity ? checkCapacity(server.capacity, collections.flatMap(expected)) : NOTHING
  server.notices.push(...fits.notices)
  const own = collections.flatMap(({ alias, findings }) => findings.map((finding) => `${alias}: ${finding}`))
  return { server, collections, findings: [...server.findings, ...own, ...fits.findings] }
}

const NOTHING = { findings: [], notices: [] }

/** A new generation's size, where one is made and the rows were looked at. */
function expected({ alias, mode, rows }: InspectedCollection): Expected[] {
  return mode === 'full' && rows ? [{ alias, jsonBytes: rows.documents * rows.documentBytes }] : []
}
