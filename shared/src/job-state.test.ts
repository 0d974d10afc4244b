import fc from 'fast-check'
import { expect, test } from 'vitest'
import { isActive, isFinished, jobStates, nextState, type JobChange, type JobState } from './job-state.ts'
import { SyncError } from './sync-error.ts'

const outcomes = ['succeeded', 'failed', 'refused', 'canceled'] as const
const changes: fc.Arbitrary<JobChange> = fc.oneof(
  fc.constantFrom<JobChange>(
    { type: 'lease' },
    { type: 'accept' },
    { type: 'refuse' },
    { type: 'cancel', phase: null, kind: 'sync' },
    { type: 'cancel', phase: 'proving', kind: 'sync' },
    { type: 'cancel', phase: 'swapping', kind: 'sync' },
    { type: 'expire' },
    { type: 'lapse' },
  ),
  fc.boolean().map((cancelAsked) => ({ type: 'report' as const, cancelAsked })),
  fc.constantFrom(...outcomes).map((outcome) => ({ type: 'complete' as const, outcome })),
)

/** The next state; undefined when the change is refused. Any other error than the two that are meant goes on. */
function step(state: JobState, change: JobChange): JobState | undefined {
  try {
    return nextState(state, change)
  } catch (error) {
    const isLate = change.type === 'cancel' && change.phase === 'swapping'
    const code = isFinished(state) ? 'job-finished' : isLate ? 'too-late' : 'conflict'
    if (error instanceof SyncError && error.code === code) return undefined
    throw error
  }
}

/** What the picture in job-state.ts does not let happen; undefined when all is right. */
function wrong(state: JobState, change: JobChange, next: JobState, wasLeased: boolean): string | undefined {
  const isHeld = isActive(next) || next === 'lost'
  if (isFinished(state)) return `${state} has moved to ${next}`
  if (isHeld && !wasLeased) return `${next} without a lease`
  if (next === 'queued') return 'back into the queue'
  if (next === 'lost' && change.type !== 'lapse' && change.type !== 'cancel') return `lost by ${change.type}`
  const isForgotten = state === 'canceling' && (next === 'running' || next === 'leased') && change.type !== 'report'
  return isForgotten ? `a cancel was forgotten by ${change.type}` : undefined
}

test('whatever happens to a job in whatever order, it goes only where the picture lets it go', () => {
  fc.assert(
    fc.property(fc.array(changes, { maxLength: 40 }), (sequence) => {
      let state: JobState = 'queued'
      let wasLeased = false
      for (const change of sequence) {
        const next = step(state, change)
        if (next === undefined) continue
        expect(jobStates).toContain(next)
        wasLeased ||= change.type === 'lease'
        expect(wrong(state, change, next, wasLeased)).toBeUndefined()
        state = next
      }
    }),
    { numRuns: 2000 },
  )
})

test('a job that was canceled before its lease never runs, and a second cancel changes nothing', () => {
  expect(nextState('queued', { type: 'cancel', phase: null, kind: 'sync' })).toBe('canceled')
  expect(nextState('running', { type: 'cancel', phase: 'proving', kind: 'sync' })).toBe('canceling')
  expect(nextState('canceling', { type: 'cancel', phase: 'swapping', kind: 'sync' })).toBe('canceling')
  expect(step('canceled', { type: 'lease' })).toBeUndefined()
})

test('a job that has begun to swap is not canceled any more, whether its agent is heard of or not', () => {
  for (const phase of ['swapping', 'reindexing', 'cleanup'] as const) {
    for (const state of ['running', 'lost'] as const) {
      expect(() => nextState(state, { type: 'cancel', phase, kind: 'sync' })).toThrow(
        expect.objectContaining({ code: 'too-late' }),
      )
    }
  }
})

test('a reindex alone can be stopped until its end, since no database is changed by it', () => {
  expect(nextState('running', { type: 'cancel', phase: 'reindexing', kind: 'reindex' })).toBe('canceling')
})

test('a lost job comes back by a report, and ends by what its agent says', () => {
  expect(nextState('lost', { type: 'report', cancelAsked: false })).toBe('running')
  expect(nextState('lost', { type: 'report', cancelAsked: true })).toBe('canceling')
  for (const outcome of outcomes) expect(nextState('lost', { type: 'complete', outcome })).toBe(outcome)
})

test('a job cannot end before it was leased, and not expire after that', () => {
  expect(step('queued', { type: 'complete', outcome: 'succeeded' })).toBeUndefined()
  expect(step('leased', { type: 'expire' })).toBeUndefined()
  expect(nextState('queued', { type: 'expire' })).toBe('expired')
})
