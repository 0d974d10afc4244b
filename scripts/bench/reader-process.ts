import { setTimeout as sleep } from 'node:timers/promises'

import pg from 'pg'

import { nowMs } from './clock.ts'
import type { Read, ReaderOrder, Reading } from './messages.ts'

/*
 * Reads as fast as it can with one connection for each query, as prepared statements, and writes down every wait worth
 * telling. A process of its own, so that nothing else keeps its event loop from noticing an answer.
 */

/** Shorter ones are the reads themselves. */
const MIN_WAIT_MS = 1

interface Reader {
  done: Promise<number>
}

const waits: Read['waits'] = []
let isStopped = false
let readers: Reader[] = []

async function startReader({ url, ids: idsSql, restMs }: { url: string } & Reading, text: string): Promise<Reader> {
  const client = new pg.Client({ connectionString: url, application_name: 'bench reader' })
  await client.connect()
  const ids = (await client.query<{ id: string }>(idsSql)).rows
  const name = 'read'
  await client.query({ name, text, values: [ids[0]?.id] })
  const read = async (): Promise<number> => {
    let count = 0
    while (!isStopped) {
      const values = [ids[count % ids.length]?.id]
      const atMs = nowMs()
      const { rowCount } = await client.query({ name, text, values })
      const ms = nowMs() - atMs
      if (rowCount === null) throw new Error('a reader got no answer')
      if (ms >= MIN_WAIT_MS) waits.push([atMs, ms])
      count += 1
      if (restMs !== undefined) await sleep(restMs)
    }
    await client.end()
    return count
  }
  return { done: read() }
}

async function obey(order: ReaderOrder): Promise<object> {
  if (order.order === 'start') {
    readers = await Promise.all(order.reads.map(async (sql) => await startReader(order, sql)))
    return { started: readers.length }
  }
  isStopped = true
  const counts = await Promise.all(readers.map(async ({ done }) => await done))
  const answer: Read = { reads: counts.reduce((sum, count) => sum + count, 0), waits: waits.splice(0) }
  isStopped = false
  return answer
}

process.on('message', (order: ReaderOrder) => {
  // A reader's error is what nobody may get: it ends this process, and the benchmark with it.
  void obey(order).then((answer) => process.send?.(answer))
})
process.on('disconnect', () => process.exit())
