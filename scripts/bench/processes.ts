import { fork, spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'

import type { JobParams } from '../../shared/src/job.ts'
import { withDeadline } from '../../shared/testing/postgres/deadline.ts'
import { agentNodeOptions, agentProcessEnv } from '../agent-process.ts'
import type { AgentOrder, Ran, Read, ReaderOrder, Reading } from './messages.ts'

/** A process that answers one message with one message. */
export interface Asked<Order extends object> extends AsyncDisposable {
  readonly pid: number
  /** The answer is of the order's kind: the processes are ours. */
  ask<Answer>(order: Order, what: string): Promise<Answer>
}

/** No job of a benchmark may take longer. */
const ANSWER_MS = 30 * 60_000
const END_MS = 10_000

/** Forks a program. Its errors are told on standard error. */
export function startProcess<Order extends object>(
  program: URL,
  env: Record<string, string>,
  execArgv: string[],
): Asked<Order> {
  const child = fork(fileURLToPath(program), { env, execArgv })
  return {
    pid: child.pid ?? 0,
    async ask<Answer>(order: Order, what: string) {
      const ended = new AbortController()
      const answer = once(child, 'message', { signal: ended.signal })
      const exit = once(child, 'exit', { signal: ended.signal }).then(() => {
        throw new Error(`The process of ${what} ended by itself.`)
      })
      try {
        child.send(order)
        const [said] = (await withDeadline(what, ANSWER_MS, Promise.race([answer, exit]))) as [Answer]
        return said
      } finally {
        exit.catch(() => undefined)
        answer.catch(() => undefined)
        ended.abort()
      }
    },
    [Symbol.asyncDispose]: async () => await end(child),
  }
}

/** The object store as a process of its own: what it does is not the agent's. Its folder is given, and left. */
export async function startStore(dataDir: string, bucket: string) {
  const program = fileURLToPath(new URL('../../shared/testing/object-store-main.ts', import.meta.url))
  // Ends with us, also when nobody is left to end it.
  const preload = new URL('../demo/end-with-parent.ts', import.meta.url).href
  const child = spawn(process.execPath, ['--import', preload, program, '--data-dir', dataDir, '--bucket', bucket], {
    stdio: ['ignore', 'pipe', 'inherit', 'ipc'],
  })
  const { stdout } = child
  if (!stdout) throw new Error('The object store has no output.')
  const [line] = (await withDeadline('the object store', END_MS, once(stdout, 'data'))) as [Buffer]
  const endpoint = /^READY (\S+)/.exec(line.toString())?.[1]
  if (endpoint === undefined) throw new Error('The object store did not start.')
  return {
    endpoint,
    pid: child.pid ?? 0,
    [Symbol.asyncDispose]: async () => {
      const exit = once(child, 'exit')
      child.kill('SIGTERM')
      await withDeadline('the end of the object store', END_MS, exit).catch(() => child.kill('SIGKILL'))
    },
  }
}

async function end(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return
  const exit = once(child, 'exit')
  child.disconnect()
  await withDeadline('the end of a process', END_MS, exit).catch(() => child.kill('SIGKILL'))
}

export interface Agent extends AsyncDisposable {
  readonly pid: number
  /** Runs a job to its end. Throws when it does not succeed. */
  run(params: JobParams): Promise<Ran>
}

export interface AgentOptions {
  /** Its program, of another checkout. Default: ours. */
  program?: URL
  /** More options for its Node. */
  nodeOptions?: string[]
}

export function startAgent(env: Record<string, string>, options: AgentOptions = {}): Agent {
  const child = startProcess<AgentOrder>(
    options.program ?? new URL('agent-process.ts', import.meta.url),
    { ...env, ...agentProcessEnv },
    [...agentNodeOptions, ...(options.nodeOptions ?? [])],
  )
  return {
    pid: child.pid,
    async run(params) {
      const ran = await child.ask<Ran>({ params }, `a job (${params.kind})`)
      if (ran.result.outcome !== 'succeeded') throw new Error(JSON.stringify(ran.result, undefined, 1))
      return ran
    },
    [Symbol.asyncDispose]: child[Symbol.asyncDispose],
  }
}

export interface Readers extends AsyncDisposable {
  start(url: string, reading: Reading): Promise<void>
  /** Throws when a reader got an error. */
  stop(): Promise<Read>
}

export function startReaders(): Readers {
  const child = startProcess<ReaderOrder>(new URL('reader-process.ts', import.meta.url), {}, [])
  return {
    start: async (url, reading) =>
      void (await child.ask<object>({ order: 'start', url, ...reading }, 'starting the readers')),
    stop: async () => await child.ask<Read>({ order: 'stop' }, 'stopping the readers'),
    [Symbol.asyncDispose]: child[Symbol.asyncDispose],
  }
}
