import { setTimeout as sleep } from 'node:timers/promises'

import type { JobParams } from '../../shared/src/job.ts'
import type { Mark, Ran, Read, Reading } from './messages.ts'
import type { Agent, Readers } from './processes.ts'

/** Milliseconds, but for `seconds`. Waits are the longest that any reader had while it lasted. */
export interface ReadJob {
  job: string
  seconds: number
  /** In half a second before the job: what the machine itself makes a reader wait. */
  waitBefore: number
  wait: number
  waitAtStage: number | undefined
  waitAtSwap: number
  locked: number
  /** Of the longest transaction that makes the stage. */
  lockedAtStage: number | undefined
  attempts: number
  readsPerSecond: number
}

const BEFORE_MS = 500

/** Runs a job while readers read its target. */
export async function measureJob(
  agent: Agent,
  readers: Readers,
  url: string,
  reading: Reading,
  params: JobParams,
): Promise<ReadJob> {
  await readers.start(url, reading)
  await sleep(BEFORE_MS)
  const ran = await agent.run(params)
  const read = await readers.stop()
  const { marks, endedMs } = ran
  const begunMs = marks[0]?.atMs ?? 0
  const [staging, staged] = [find(marks, 'staging'), find(marks, 'stage.made')]
  const [swapping, swapped, after] = [find(marks, 'swapping'), find(marks, 'swap.done'), find(marks, 'cleanup')]
  const swapEnd = after ?? swapped
  if (swapping === undefined || swapEnd === undefined) throw new Error(`A job did not swap: ${describe(ran)}`)
  return {
    job: ran.job,
    seconds: ran.result.seconds,
    waitBefore: longest(read, 0, begunMs),
    wait: longest(read, begunMs, endedMs),
    waitAtStage: staging && staged && longest(read, staging.atMs, staged.atMs),
    waitAtSwap: longest(read, swapping.atMs, swapEnd.atMs),
    locked: Number(swapped?.data['locked_ms']),
    lockedAtStage: staged && Number(staged.data['locked_ms']),
    attempts: Number(swapped?.data['attempts']),
    readsPerSecond: read.reads / ((endedMs - begunMs + BEFORE_MS) / 1000),
  }
}

/** Seconds of a job's phases. */
export interface Proof {
  loading: number
  proving: number
  seconds: number
}

/** What the proof costs, with nobody else at work. */
export async function measureProof(agent: Agent, params: JobParams): Promise<Proof & { job: string }> {
  const ran = await agent.run(params)
  return {
    job: ran.job,
    loading: secondsOf(ran, 'loading'),
    proving: secondsOf(ran, 'proving'),
    seconds: ran.result.seconds,
  }
}

function secondsOf({ marks, endedMs }: Ran, phase: string): number {
  const isPhase = ({ name }: Mark): boolean => !name.includes('.')
  const phases = marks.filter(isPhase)
  const at = phases.findIndex(({ name }) => name === phase)
  const begun = phases[at]
  return begun === undefined ? 0 : ((phases[at + 1]?.atMs ?? endedMs) - begun.atMs) / 1000
}

function find(marks: Mark[], name: string): Mark | undefined {
  return marks.find((mark) => mark.name === name)
}

/** Of the waits that touched the time between. */
function longest({ waits }: Read, fromMs: number, toMs: number): number {
  return waits.reduce((most, [atMs, ms]) => (atMs < toMs && atMs + ms > fromMs ? Math.max(most, ms) : most), 0)
}

function describe({ result, marks }: Ran): string {
  return `engine ${result.engine ?? 'none'}, ${marks.map(({ name }) => name).join(' ')}`
}
