import type { AgentEvent } from '@multiboard-sync/shared/event'
import { expect, test } from 'vitest'
import { capEvents, MAX_EVENTS } from './cap-events.ts'

const event = (level: AgentEvent['level']): AgentEvent => ({ aseq: 1, type: 'a.b', level, at: '', data: {} })
const types = (told: readonly { type: string }[]) => told.map(({ type }) => type)

test('T19: a job has 50,000 events, and somewhat more when they are warnings', () => {
  const [info, warning] = [event('info'), event('warning')]
  expect(capEvents([info, info], 0)).toEqual({ kept: [info, info], told: [] })
  expect(capEvents([info, info], MAX_EVENTS - 2)).toEqual({ kept: [info, info], told: [] })
  const crossing = capEvents([info, info, warning], MAX_EVENTS - 1)
  expect(crossing.kept).toEqual([info, warning])
  expect(types(crossing.told)).toEqual(['events.capped'])
  // Said once.
  expect(capEvents([info, warning], MAX_EVENTS + 2)).toEqual({ kept: [warning], told: [] })
  expect(capEvents([info, warning], MAX_EVENTS + 5000)).toEqual({ kept: [], told: [] })
})
