import { fork, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'

import type { JobParams } from '../../shared/src/job.ts'
import { withDeadline } from '../../shared/testing/postgres/deadline.ts'
import { agentNodeOptions, agentProcessEnv } from '../agent-process.ts'
import type { AgentOrder, Ran, Read, ReaderOrder, Reading } from './messages.ts'

/** A process that answers one message with one message. */
export interface Asked<Order extends object> extends AsyncDisposable {
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

async function end(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return
  const exit = once(child, 'exit')
  child.disconnect()
  await withDeadline('the end of a process', END_MS, exit).catch(() => child.kill('SIGKILL'))
}

export interface Agent extends AsyncDisposable {
  /** Runs a job to its end. Throws when it does not succeed. */
  run(params: JobParams): Promise<Ran>
}

export function startAgent(env: Record<string, string>): Agent {
  const child = startProcess<AgentOrder>(
    new URL('agent-process.ts', import.meta.url),
    { ...env, ...agentProcessEnv },
    agentNodeOptions,
  )
  return {
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
