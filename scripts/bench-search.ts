import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { cpus, tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'

import pg from 'pg'

import { formatCount } from '../shared/src/sizes.ts'
import { startObjectStore } from '../shared/testing/object-store.ts'
import { startPostgres } from '../shared/testing/postgres.ts'
import { agentNodeOptions, agentProcessEnv } from './agent-process.ts'
import { formatTable, median, short } from './bench/figures.ts'
import { startProcess } from './bench/processes.ts'
import { importPlainly } from './bench-search/import-plainly.ts'
import { ALIAS, changeDocuments, makeDocuments, mappingYaml } from './bench-search/make-documents.ts'
import type { Reindexed, SearchOrder, Streamed } from './bench-search/messages.ts'
import { makeKeys } from './make-keys.ts'
import { removeCollections, testSearchServer, type SearchServer } from './search-server.ts'

/*
 * Measures what the search index costs: documents made of a table with twelve fields, some 380 bytes each.
 *
 *     pnpm bench-search [--documents 1000000] [--rounds 3] [--only stream,full] [--major 18] [--json]
 *
 * stream: PostgreSQL makes the documents, the agent cuts them into batches, and nobody takes them.
 * full: a whole job, from the preflight to the proof and the alias, against a stand-in for Typesense that counts documents.
 * incremental: the job after one per cent of the rows was changed, against a stand-in that holds them.
 * real: with TYPESENSE_TEST_URL and TYPESENSE_TEST_API_KEY, the full job there, and the same documents as a ready-made file in
 * one request, which proves nothing.
 *
 * Each figure is the median of its rounds. The agent runs as `pnpm agent` does, in a fresh process for each order, so its
 * memory and CPU time are its own; the first process compiles the code for all others, which costs it some 15 MB.
 * PostgreSQL and the stand-in share this machine with it.
 */

interface Options {
  documents: number
  rounds: number
  /** Of stream, full, incremental and real. */
  only: string[]
  major: number
  say: (text: string) => void
}

interface Figures {
  stream: Streamed[]
  full: Reindexed[]
  incremental: Reindexed[]
  real: { full: Reindexed; plainSeconds: number }[]
}

async function bench({ documents, rounds, only, major, say }: Options): Promise<Figures> {
  await using started = new AsyncDisposableStack()
  const folder = await mkdtemp(join(tmpdir(), 'multiboard-sync-bench-search-'))
  started.defer(async () => await rm(folder, { recursive: true, force: true }))
  const postgres = started.use(await startPostgres({ major, settings: { max_wal_size: '8GB', shared_buffers: '1GB' } }))
  const url = postgres.url('production')
  await createDatabase(postgres.url('postgres'))
  await makeDocuments(url, documents, (done) =>
    say(`Making documents: ${formatCount(done)} of ${formatCount(documents)}.`),
  )
  const store = started.use(await startObjectStore())
  await store.createBucket('archive')
  const keys = await makeKeys(join(folder, 'keys'))
  await writeFile(join(folder, 'agent.yaml'), policy(''))
  // What is only counted cannot be read back.
  await writeFile(join(folder, 'counted.yaml'), policy('verify: { sample: 0 }'))
  const env = {
    AGENT_CONFIG: join(folder, 'agent.yaml'),
    AGENT_STATE_DIR: join(folder, 'state'),
    AGENT_KEY_FILE: keys.agentKeyFile,
    TRUST_FILE: keys.trustFile,
    PRODUCTION_DATABASE_URL: url,
    S3_ENDPOINT: store.endpoint,
    S3_BUCKET: 'archive',
    S3_ACCESS_KEY_ID: store.accessKeyId,
    S3_SECRET_ACCESS_KEY: store.secretAccessKey,
    S3_FORCE_PATH_STYLE: 'true',
  }
  /** One order to an agent of its own. */
  const ask = async <Answer>(order: SearchOrder, server?: Search): Promise<Answer> => {
    const search = server && {
      TYPESENSE_HOST: server.url,
      TYPESENSE_API_KEY: server.apiKey,
      ...(server.isCounting ? { AGENT_CONFIG: join(folder, 'counted.yaml') } : {}),
    }
    await using agent = startProcess<SearchOrder>(
      new URL('bench-search/agent-process.ts', import.meta.url),
      { ...env, ...search, ...agentProcessEnv },
      agentNodeOptions,
    )
    return await agent.ask<Answer>(order, order.order)
  }

  const figures: Figures = { stream: [], full: [], incremental: [], real: [] }
  for (let round = 1; round <= rounds; round += 1) {
    const begin = (what: string) => say(`Round ${round} of ${rounds}: ${what}.`)
    if (only.includes('stream')) {
      begin('documents against a sink')
      figures.stream.push(await ask<Streamed>({ order: 'stream' }))
    }

    if (only.includes('full')) {
      begin('a full reindex, counted')
      await using counting = await startSearch(false)
      figures.full.push(await ask<Reindexed>({ order: 'reindex', full: true }, counting))
    }

    if (only.includes('incremental')) {
      begin('an incremental reindex of one per cent, after a full one')
      await using holding = await startSearch(true)
      await ask<Reindexed>({ order: 'reindex', full: true }, holding)
      await changeDocuments(url, round)
      const incremental = await ask<Reindexed>({ order: 'reindex', full: false }, holding)
      expectMode(incremental, 'incremental')
      figures.incremental.push(incremental)
    }

    const real = testSearchServer(process.env)
    if (real === undefined || !only.includes('real')) continue
    begin('a full reindex on the real server, and a ready-made file')
    const file = join(folder, 'documents.jsonl')
    const ready = await ask<Streamed>({ order: 'stream', file })
    const plainSeconds = await importPlainly(real, ready.schema, file, ready.documents)
    await removeCollections(real, ALIAS)
    figures.real.push({ full: await ask<Reindexed>({ order: 'reindex', full: true }, real), plainSeconds })
    await removeCollections(real, ALIAS)
  }
  return figures
}

const policy = (verify: string): string => `databases: { production: { role: both }, staging: { role: both } }
routes: [{ from: staging, to: production }]
collections:
  ${ALIAS}:${mappingYaml}
    ${verify}
`

interface Search extends SearchServer {
  /** It holds no documents. */
  isCounting?: boolean
}

async function createDatabase(url: string): Promise<void> {
  const client = new pg.Client({ connectionString: url, application_name: 'bench-search' })
  await client.connect()
  await client.query('create database production')
  await client.end()
}

async function startSearch(keep: boolean): Promise<Search & AsyncDisposable> {
  const program = new URL('bench-search/typesense-process.ts', import.meta.url)
  const child = startProcess<{ keep: boolean }>(program, {}, ['--max-old-space-size=8192'])
  try {
    const listening = await child.ask<SearchServer>({ keep }, 'the start of the stand-in for Typesense')
    return { ...listening, isCounting: !keep, [Symbol.asyncDispose]: child[Symbol.asyncDispose] }
  } catch (error) {
    await child[Symbol.asyncDispose]()
    throw error
  }
}

function expectMode({ search }: Reindexed, mode: string): void {
  const [one] = search.collections
  if (one?.mode !== mode) throw new Error(`A reindex was ${one?.mode ?? 'none'} (${one?.reason ?? ''}), not ${mode}.`)
}

interface Row {
  what: string
  documents: number
  seconds: number
  cpuSeconds: number
  rssBefore: number
  peakRss: number
}

function printFigures({ stream, full, incremental, real }: Figures, documents: number): string {
  const rows: Row[] = [
    ...stream.map((one) => ({ ...one, what: 'stream' })),
    ...full.map((one) => ({ ...one, what: 'full', documents })),
    ...incremental.map((one) => ({ ...one, what: 'incremental', documents })),
    ...real.map((one) => ({ ...one.full, what: 'full, real server', documents })),
  ]
  const line = (what: string): string[] => {
    const own = rows.filter((row) => row.what === what)
    const of = (figure: (row: Row) => number): number => median(own.map(figure)) ?? 0
    return [
      what,
      of((row) => row.seconds).toFixed(1),
      formatCount(Math.round(of((row) => row.documents / row.seconds))),
      short(of((row) => (row.cpuSeconds * 1e6) / row.documents)),
      (of((row) => row.rssBefore) / 1e6).toFixed(0),
      (of((row) => row.peakRss) / 1e6).toFixed(0),
      (Math.max(...own.map((row) => row.peakRss)) / 1e6).toFixed(0),
    ]
  }
  const table = formatTable([
    ['', 'seconds', 'documents/s', "agent's CPU, µs/document", 'RSS at start, MB', 'at its peak', 'worst peak'],
    ...[...new Set(rows.map(({ what }) => what))].map(line),
  ])
  const bytes = stream[0] ? ` of ${short(stream[0].bytes / stream[0].documents)} bytes` : ''
  const [changed] = incremental.flatMap(({ search }) => search.collections)
  return [
    `${formatCount(documents)} documents${bytes}; of several rounds the middle.`,
    table,
    ...(changed === undefined
      ? []
      : [
          `incremental: ${formatCount(changed.upserted)} sent, ${formatCount(changed.deleted)} deleted (${changed.reason})`,
        ]),
    real.length === 0
      ? 'real server: not measured; set TYPESENSE_TEST_URL and TYPESENSE_TEST_API_KEY.'
      : `real server: ${short(median(real.map((one) => one.plainSeconds / one.full.seconds)) ?? 0)} × the rate of a ready-made file in one request`,
  ].join('\n')
}

const { values } = parseArgs({
  options: {
    documents: { type: 'string', default: '1000000' },
    rounds: { type: 'string', default: '3' },
    only: { type: 'string', default: 'stream,full,incremental,real' },
    major: { type: 'string', default: '18' },
    json: { type: 'boolean', default: false },
  },
})
const [documents, rounds, major] = [Number(values.documents), Number(values.rounds), Number(values.major)]
if (![documents, rounds, major].every((number) => Number.isSafeInteger(number) && number > 0)) {
  console.error(
    'usage: pnpm bench-search [--documents 1000000] [--rounds 3] [--only stream,full,incremental,real] [--major 18] [--json]',
  )
  process.exitCode = 2
} else {
  const figures = await bench({
    documents,
    rounds,
    only: values.only.split(','),
    major,
    say: (text) => console.error(text),
  })
  if (values.json) console.log(JSON.stringify({ documents, major, cpus: cpus().length, ...figures }))
  else console.log(printFigures(figures, documents))
}
