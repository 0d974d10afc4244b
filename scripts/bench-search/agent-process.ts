import { createWriteStream } from 'node:fs'
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'

import { runLocalJob } from '../../agent/src/cli/run-local-job.ts'
import { readEnv } from '../../agent/src/env.ts'
import { openContext } from '../../agent/src/open-context.ts'
import { peakMemoryBytes } from '../../agent/src/peak-memory.ts'
import { openSession } from '../../agent/src/postgres/session.ts'
import { compileMapping } from '../../agent/src/reindex/mapping/compile-mapping.ts'
import { streamDocuments } from '../../agent/src/reindex/stream-documents.ts'
import { ALIAS } from './make-documents.ts'
import type { Cost, Reindexed, SearchOrder, Streamed } from './messages.ts'

/*
 * The agent, for one order of the search benchmark: as its daemon does a reindex, or only as far as the documents' text. It
 * tells what that took this process, which is started for each order.
 */

await using opened = await openContext(readEnv())
const { signal } = new AbortController()

async function streamAll(file: string | undefined): Promise<Omit<Streamed, keyof Cost>> {
  const { context } = opened
  const mapping = context.policy.collections[ALIAS]
  if (mapping === undefined) throw new Error('The policy has no mapping.')
  const database = context.databaseUrl('production')
  await using session = await openSession(database, { purpose: 'bench', signal, readOnly: true })
  await session.run('begin isolation level repeatable read read only')
  const { documentsSql, schema } = await compileMapping(session, ALIAS, mapping)
  const streamed = { documents: 0, bytes: 0, schema }
  async function* read(): AsyncGenerator<Buffer> {
    const select = `select document from (${documentsSql}) as made`
    for await (const { body, lines } of streamDocuments(session, select, { signal })) {
      streamed.documents += lines
      streamed.bytes += body.length
      yield body
    }
  }
  if (file !== undefined) await pipeline(Readable.from(read()), createWriteStream(file))
  else for await (const body of read()) void body
  return streamed
}

async function reindex(full: boolean): Promise<Pick<Reindexed, 'search'>> {
  const params = { kind: 'reindex', source: 'production', ...(full ? { full: true as const } : {}) } as const
  const { result } = await runLocalJob(opened, params, { dryRun: false, sinks: [], signal })
  if (result.outcome !== 'succeeded' || result.search?.state !== 'fresh') {
    throw new Error(JSON.stringify(result, undefined, 1))
  }
  return { search: result.search }
}

async function obey(order: SearchOrder): Promise<Streamed | Reindexed> {
  const rssBefore = peakMemoryBytes()
  const before = process.cpuUsage()
  const startedMs = performance.now()
  const did = order.order === 'stream' ? await streamAll(order.file) : await reindex(order.full)
  const seconds = (performance.now() - startedMs) / 1000
  const { user, system } = process.cpuUsage(before)
  return { ...did, seconds, cpuSeconds: (user + system) / 1e6, rssBefore, peakRss: peakMemoryBytes() }
}

const ended = new Promise<void>((resolve) => process.once('disconnect', resolve))
process.once('message', (order: SearchOrder) => void obey(order).then((answer) => process.send?.(answer)))
await ended
