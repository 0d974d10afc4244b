import type { AgentEvent } from '@multiboard-sync/shared/event'
import { controlEvent, type NewEvent } from '../events/append-events.ts'

// A job with 2,000 tables has some 20,000 events. What comes after this many is an agent that runs wild, and would fill
// our disk and every page that shows the job.
export const MAX_EVENTS = 50_000
// Warnings and errors are what somebody will look for; of those, too, there are not thousands.
const MAX_EVENTS_WITH_WARNINGS = 55_000

/**
 * Of an agent's new events those that are kept, and once a word that others are not. They count as received all the
 * same: an agent must never be stopped by what it has to tell. `pos` is the job's last position.
 */
export function capEvents(
  events: readonly AgentEvent[],
  pos: number,
): { kept: readonly AgentEvent[]; told: readonly NewEvent[] } {
  let last = pos
  const kept = events.filter(({ level }) => {
    const isLoud = level === 'warning' || level === 'error'
    const fits = last < (isLoud ? MAX_EVENTS_WITH_WARNINGS : MAX_EVENTS)
    if (fits) last += 1
    return fits
  })
  const isFirst = kept.length < events.length && pos <= MAX_EVENTS
  return { kept, told: isFirst ? [controlEvent('events.capped', { max: MAX_EVENTS }, 'warning')] : [] }
}
