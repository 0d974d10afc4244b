import { SyncError } from '@multiboard-sync/shared/sync-error'
import { expect, it } from 'vitest'
import { beginAgain } from './begin-again.ts'
import { newFacts, type JobRun } from './context.ts'
import { createTrace } from './lanes/trace.ts'
import { unlimitedLease } from './report/lease.ts'

const lost = () => new SyncError('connection-lost', 'cut', { retryable: true })

function watched(): { run: JobRun; steps: string[]; told: string[] } {
  const steps: string[] = []
  const told: string[] = []
  const run: JobRun = {
    reporter: { phase: () => undefined, progress: () => undefined, event: (type) => void told.push(type) },
    lease: unlimitedLease,
    journal: { record: async (step) => void steps.push(step), [Symbol.asyncDispose]: async () => undefined },
    signal: AbortSignal.timeout(20_000),
    trace: createTrace(),
    dryRun: false,
    facts: newFacts(),
  }
  return { run, steps, told }
}

it('a job that was cut while it planned is run again, and its start is written down and counted once', async () => {
  const { run, steps, told } = watched()
  const begun: (boolean | undefined)[] = []
  await beginAgain(run, async (again) => {
    begun.push(again.isBegun)
    await again.journal.record('begun', { target: 'staging' })
    if (begun.length < 3) throw lost()
    await again.journal.record('staging', { target: 'staging' })
  })
  expect(begun).toEqual([false, true, true])
  expect(steps).toEqual(['begun', 'staging'])
  expect(told).toEqual(['job.begun-again', 'job.begun-again'])
})

it('a job that has left its preflight is not run again, also when nothing is written down of it', async () => {
  const { run } = watched()
  let runs = 0
  const error = lost()
  const running = beginAgain(run, async ({ reporter }) => {
    runs += 1
    reporter.phase('preflight')
    reporter.phase('loading')
    throw error
  })
  await expect(running).rejects.toBe(error)
  expect(runs).toBe(1)
})

it.each([
  ['that has written anything', lost(), true],
  ['whose error is of another kind', new SyncError('lock-timeout', 'busy', { retryable: true }), false],
  ['that cannot reach a server at all', new SyncError('database-unreachable', 'away', { retryable: true }), false],
])('a job %s is not run again', async (_, error, writes) => {
  const { run } = watched()
  let runs = 0
  const running = beginAgain(run, async (again) => {
    runs += 1
    if (writes) await again.journal.record('staging', { target: 'staging' })
    throw error
  })
  await expect(running).rejects.toBe(error)
  expect(runs).toBe(1)
})
