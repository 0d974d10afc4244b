import { once } from 'node:events'
import { readFile } from 'node:fs/promises'
import { MessageChannel, Worker } from 'node:worker_threads'
import { retry } from '@multiboard-sync/shared/retry'
import { SyncError } from '@multiboard-sync/shared/sync-error'
import { compileCacheEnv } from '../env.ts'
import { canceled } from './canceled.ts'
import { connect, cut, isCutShort, type Connected, type DatabaseUrl } from './connect.ts'
import type { DumpAnswer, DumpInput, ToWorker } from './dump-messages.ts'
import { connectionLost, fromPgError } from './pg-error.ts'

/*
 * pg_dump 18 without a child process: compiled to WebAssembly, in a worker thread, over a connection that node-pg made.
 *
 * Promises: the text of pg_dump itself, for servers 13 to 18, that replays on the same or a newer major; refuses what the
 * packaging would change in silence; a worker, a socket and a backend never outlive the call. Never: used for rows (each
 * response is held in memory whole), so callers pass -s.
 */

export interface DumpOptions {
  /** pg_dump's own: `-s`, `--no-owner`, `--snapshot=…`. Not -f, -F, -d, -U. */
  args: string[]
  signal: AbortSignal
  timeoutMs?: number
}

/** 24,000 entries take half a minute over 50 ms of latency; nobody's schema takes ten. */
const defaultTimeoutMs = 600_000
/** It only reads, so that it can be had again when its connection is cut. */
const cutRetry = { attempts: 4, firstDelayMs: 200, maxDelayMs: 1_000 }
/** A backend that waits for a lock does not notice that we went away. */
const lockWaitTimeoutMs = 30_000

/**
 * The text that pg_dump writes. Throws SyncError `permission-denied`, `lock-timeout`, `connection-lost`,
 * `unsupported-object`, `database-version`, `query-failed`, those of connect(), and what the signal was aborted with.
 */
export async function dumpSchema(database: DatabaseUrl, options: DumpOptions): Promise<string> {
  await holdCompiledCode()
  const outcome = await retry({ signal: options.signal, ...cutRetry }, async () => {
    try {
      return { text: await dumpOnce(database, options) }
    } catch (thrown) {
      if (isCutShort(thrown)) throw thrown
      return { thrown }
    }
  })
  if (outcome.text === undefined) throw outcome.thrown
  return outcome.text
}

async function dumpOnce(database: DatabaseUrl, options: DumpOptions): Promise<string> {
  const { signal } = options
  const connected = await connect(database, 'schema dump', signal)
  const doing = `reading the schema of the database ${database.name}`
  // node-pg's own reader must see nothing of what follows.
  const socket = connected.client.connection.stream
  socket.removeAllListeners('data')
  const wake = new Int32Array(new SharedArrayBuffer(4))
  const { port1, port2 } = new MessageChannel()
  const tell = (message: ToWorker) => {
    port1.postMessage(message)
    Atomics.add(wake, 0, 1)
    Atomics.notify(wake, 0)
  }
  socket.on('data', (data: Buffer) => tell({ data }))
  socket.on('close', () => tell({ lost: true }))
  port1.on('message', (bytes: Uint8Array) => socket.write(bytes))

  const timeoutMs = options.timeoutMs ?? defaultTimeoutMs
  const deadline = AbortSignal.timeout(timeoutMs)
  const worker = startWorker({
    port: port2,
    wake,
    parameters: connected.parameters,
    args: [...options.args, `--lock-wait-timeout=${lockWaitTimeoutMs}`],
  })
  try {
    const answer = await answerOf(worker, AbortSignal.any([signal, deadline]))
    if (answer.kind === 'dumped') return forOlderTargets(answer.sql)
    throw refusal(answer, connected, doing)
  } catch (error) {
    if (signal.aborted) throw canceled(signal)
    if (deadline.aborted) {
      throw new SyncError('query-failed', `${timeoutMs / 1000} s were not enough for ${doing}.`, { retryable: true })
    }
    throw error
  } finally {
    await worker.terminate()
    port1.close()
    // Nothing is under way when pg_dump is done; when it is not, the closed socket ends the transaction.
    cut(connected.client)
  }
}

/** Node has it; TypeScript knows it only with the types of a browser. */
declare const WebAssembly: { compile(bytes: Uint8Array): Promise<object> }
let compiled: Promise<object> | undefined

/**
 * V8 shares the code of equal WebAssembly bytes between threads for as long as one module of them is alive. Held here, each
 * further dump takes half the CPU time and 50 MB less at the peak (measured over five dumps).
 */
async function holdCompiledCode(): Promise<void> {
  compiled ??= readFile(new URL('pg_dump.wasm', import.meta.resolve('@electric-sql/pglite-tools/pg_dump'))).then(
    async (bytes) => await WebAssembly.compile(bytes),
  )
  await compiled
}

/**
 * The worker gets neither our flags nor our environment, but for where compiled modules are kept (stripping its types anew
 * would be a sixth of a dump's CPU time): it needs nothing else, and holds no secret.
 */
function startWorker(input: DumpInput): Worker {
  return new Worker(new URL('./dump-worker.ts', import.meta.url), {
    workerData: input,
    transferList: [input.port],
    env: compileCacheEnv(),
    execArgv: [],
    name: 'pg_dump',
    // Text of definitions needs no large young generation; by default it would grow to 48 MB.
    resourceLimits: { maxYoungGenerationSizeMb: 8 },
  })
}

async function answerOf(worker: Worker, signal: AbortSignal): Promise<DumpAnswer> {
  const exited = new AbortController()
  worker.once('exit', () => exited.abort(new SyncError('internal', "pg_dump's thread ended without an answer.")))
  // `once` rejects with the worker's 'error', such as running out of memory.
  const [answer] = (await once(worker, 'message', { signal: AbortSignal.any([signal, exited.signal]) }).catch(
    (error: unknown) => {
      throw exited.signal.aborted && !signal.aborted ? exited.signal.reason : error
    },
  )) as [DumpAnswer]
  return answer
}

/** Servers before 17 do not know this setting, and no server needs it: the agent sets its own timeouts. */
function forOlderTargets(text: string): string {
  const firstEntry = text.indexOf('\n--\n-- Name: ')
  const preambleEnd = firstEntry < 0 ? text.length : firstEntry
  return text.slice(0, preambleEnd).replace(/^SET transaction_timeout = 0;\n/m, '') + text.slice(preambleEnd)
}

function refusal(answer: Exclude<DumpAnswer, { kind: 'dumped' }>, { broken }: Connected, doing: string): SyncError {
  if (answer.kind === 'restricted') {
    return new SyncError(
      'unsupported-object',
      `A text in the schema has a line that begins with \\restrict, met while ${doing}.`,
      {
        hint: 'Change the function, comment or default that holds this line; it is a command of psql.',
      },
    )
  }
  if (answer.server !== undefined) return fromPgError(Object.assign(new Error('pg_dump'), answer.server), doing)
  if (answer.text.includes('connection lost')) return connectionLost(doing, broken() ?? new Error(answer.text))
  const text = cleaned(answer.text)
  if (text.includes('server version mismatch')) {
    return new SyncError('database-version', `The server is newer than our pg_dump 18, met while ${doing}.`, {
      hint: 'Update the agent.',
    })
  }
  return new SyncError('query-failed', `pg_dump failed while ${doing}.`, { details: [text] })
}

const textMaxLength = 500

/** pg_dump's own words: names of objects and options. The queries it quotes are cut off. */
function cleaned(text: string): string {
  return text
    .replace(/^pg_dump failed with exit code \d+\.\s*Error message:\s*/, '')
    .replace(/invalid binary "[^"]*"/, '')
    .replace(/(?:pg_dump: )?(?:detail: )?Query was:.*$/s, '')
    .trim()
    .slice(0, textMaxLength)
}
