import { fork, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { withDeadline } from '@multiboard-sync/shared/testing/postgres/deadline'
import { createDatabase, type TestDatabase } from '@multiboard-sync/shared/testing/test-database'
import { afterAll, beforeAll, expect, test } from 'vitest'
import type { Measured } from './search/import-process.ts'

const program = fileURLToPath(new URL('search/import-process.ts', import.meta.url))
const waitMs = 50_000
const documents = 200_000
/** Some 80 MB of documents. */
const select = `select '{"id":"' || n || '","text":"' || repeat(md5(n::text), 12) || '"}'
  from (select generate_series(1, ${documents})) as made (n)`
/** Some batches of 1 MB in pieces and in one, the sockets' buffers, and what waits to be collected. */
const mostGrowthBytes = 64e6

let database: TestDatabase
beforeAll(async () => {
  database = await createDatabase()
})
afterAll(async () => await database[Symbol.asyncDispose]())

interface Sink extends AsyncDisposable {
  url: string
  lines: number
  /** Requests that came whole and were not answered yet. */
  held: number
  hold(): void
  release(): void
}

/** Takes imports, counts their lines, keeps nothing, and answers when it is let. */
async function startSink(): Promise<Sink> {
  let gate = Promise.resolve()
  let open = () => {}
  const server = createServer((request, response) => {
    if (request.url === '/debug') {
      return void response.setHeader('content-type', 'application/json').end('{"version":"30.0","state":1}')
    }
    let lines = 0
    request.on('data', (chunk: Buffer) => {
      for (let at = chunk.indexOf(10); at !== -1; at = chunk.indexOf(10, at + 1)) lines += 1
    })
    request.on('end', () => {
      sink.held += 1
      void gate.then(() => {
        sink.held -= 1
        sink.lines += lines
        response.end('{"success":true}\n'.repeat(lines).trimEnd())
      })
    })
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const sink: Sink = {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    lines: 0,
    held: 0,
    hold: () => ({ promise: gate, resolve: open } = Promise.withResolvers<void>()),
    release: () => open(),
    [Symbol.asyncDispose]: async () => {
      server.closeAllConnections()
      await new Promise((resolve) => server.close(resolve))
    },
  }
  return sink
}

/** As the agent is started wherever memory counts: scripts/agent-process.ts. */
function start(sink: Sink): { child: ChildProcess; measured: Promise<Measured> } {
  const order = { database: database.url, typesense: sink.url, select }
  const child = fork(program, [JSON.stringify(order)], {
    execArgv: ['--max-semi-space-size=4', '--expose-gc'],
    env: { ...process.env, MALLOC_ARENA_MAX: '2' },
  })
  const ended = once(child, 'exit').then(([code]) => {
    throw new Error(`the process ended with ${String(code)} and told nothing`)
  })
  const told = once(child, 'message').then(([message]) => message as Measured)
  const measured = withDeadline('the end of the import', waitMs, Promise.race([told, ended]))
  measured.catch(() => child.kill('SIGKILL'))
  return { child, measured }
}

test.skipIf(!existsSync('/proc/self/status'))(
  '200,000 documents go through in a few dozen megabytes, whatever their sum',
  async () => {
    await using sink = await startSink()
    const { sent, rssBefore, peakRss } = await start(sink).measured
    console.log(`peak ${Math.round(peakRss / 1e6)} MB, ${Math.round((peakRss - rssBefore) / 1e6)} MB more than before`)
    expect([sent, sink.lines]).toEqual([documents, documents])
    expect(peakRss - rssBefore).toBeLessThan(mostGrowthBytes)
  },
)

test('A search server that answers nothing holds PostgreSQL back, and nothing is lost for it', async () => {
  await using sink = await startSink()
  sink.hold()
  const { measured } = start(sink)
  const client = await database.client()
  const waits = `select from pg_stat_activity
    where application_name = 'multiboard-sync search-memory' and wait_event = 'ClientWrite'`
  const isHeldBack = async () => {
    for (let seen = 0; seen < 10; await sleep(20)) {
      const isWaiting = (await client.query(waits)).rowCount === 1 && sink.held === 2
      seen = isWaiting ? seen + 1 : 0
    }
  }
  await withDeadline('PostgreSQL waiting for the search server', waitMs, Promise.race([isHeldBack(), measured]))
  expect([sink.held, sink.lines]).toEqual([2, 0])
  sink.release()
  expect(await measured).toMatchObject({ sent: documents })
  expect(sink.lines).toBe(documents)
})
