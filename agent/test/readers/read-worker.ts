import { setTimeout as sleep } from 'node:timers/promises'
import { parentPort, workerData } from 'node:worker_threads'
import pg from 'pg'
import type { ReaderOf, Seen } from './watch-readers.ts'

/*
 * Readers in a thread of their own, so that they measure how long the server let them wait, not how long a job in the same
 * process kept them from looking. Ends at the first message; answers what was seen.
 */

interface VersionRow {
  version: string
  n: string
}

/** So that two cores are left for the job. */
const PAUSE_MS = 2

const { url, readers } = workerData as { url: string; readers: ReaderOf[] }
const seen: Seen = { wrong: [], versions: [], reads: 0, longestMs: 0 }
let isStopped = false
parentPort?.once('message', () => (isStopped = true))
const clients = await Promise.all(
  readers.map(async () => {
    const client = new pg.Client({ connectionString: url, application_name: 'a reader' })
    await client.connect()
    return client
  }),
)
parentPort?.postMessage('reading')
await Promise.all(readers.map(async (reader, n) => await readOn(clients[n], reader)))
await Promise.all(clients.map(async (client) => await client.end()))
parentPort?.postMessage(seen)

async function readOn(client: pg.Client | undefined, { level, relations }: ReaderOf): Promise<void> {
  if (!client) return
  while (!isStopped) {
    const found = new Set<string>()
    try {
      if (level) await client.query(`begin isolation level ${level}`)
      for (const of of level ? [...relations, ...relations] : relations) found.add(await readOnce(client, of))
      if (level) await client.query('commit')
    } catch (error) {
      seen.wrong.push(String(error))
      return
    }
    await sleep(PAUSE_MS)
    if (level && found.size > 1) seen.wrong.push(`a ${level} transaction has seen ${[...found].join(' and ')}`)
  }
}

/** One version, and rows: else the reader saw what never was. Prepared once, then only executed. */
async function readOnce(client: pg.Client, of: string): Promise<string> {
  const atMs = performance.now()
  const { rows } = await client.query<VersionRow>({
    name: `of ${of}`,
    text: `select version, count(*)::text as n from ${of} group by version`,
  })
  seen.longestMs = Math.max(seen.longestMs, performance.now() - atMs)
  seen.reads += 1
  if (rows.length === 0) seen.wrong.push(`${of} is empty`)
  if (rows.length > 1) seen.wrong.push(`${of} has rows of ${rows.map(({ version }) => version).join(' and ')}`)
  const [{ version } = { version: '' }] = rows
  if (!seen.versions.includes(version)) seen.versions.push(version)
  return version
}
