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
    { type: 'cancel' },
    { type: 'expire' },
    { type: 'lapse' },
  ),
  fc.boolean().map((cancelAsked) => ({ type: 'report' as const, cancelAsked })),
  fc.constantFrom(...outcomes).map((outcome) => ({ type: 'complete' as const, outcome })),
)

/** The next state; undefined when the change is refused. Anything but a SyncError is a bug and goes on. */
function step(state: JobState, change: JobChange): JobState | undefined {
  try {
    return nextState(state, change)
  } catch (error) {
    if (!(error instanceof SyncError)) throw error
    expect(error.code).toBe(isFinished(state) ? 'job-finished' : 'conflict')
    return undefined
  }
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
        expect(isFinished(state), 'an ended job never moves').toBe(false)
        wasLeased ||= change.type === 'lease'
        if (isActive(next) || next === 'lost') expect(wasLeased, `${next} needs a lease`).toBe(true)
        if (next === 'queued') expect(state, 'nothing goes back into the queue').toBe('queued')
        if (next === 'lost') expect(['lapse', 'cancel']).toContain(change.type)
        if (state === 'canceling' && !isFinished(next) && change.type !== 'report') {
          expect(['canceling', 'lost'], 'only its end or a lapse ends a cancel').toContain(next)
        }
        state = next
      }
    }),
    { numRuns: 2000 },
  )
})

test('a job that was canceled before its lease never runs, and a second cancel changes nothing', () => {
  expect(nextState('queued', { type: 'cancel' })).toBe('canceled')
  expect(nextState('running', { type: 'cancel' })).toBe('canceling')
  expect(nextState('canceling', { type: 'cancel' })).toBe('canceling')
  expect(step('canceled', { type: 'lease' })).toBeUndefined()
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
