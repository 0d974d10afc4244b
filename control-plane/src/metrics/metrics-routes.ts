import { Hono } from 'hono'
import type { ControlPlane } from '../control-plane.ts'
import { describe } from '../web/describe.ts'
import { metricsText } from './metrics-text.ts'
import { readMetrics } from './read-metrics.ts'

/** For a monitoring system, with a token of a viewer. */
export function metricsRoutes(control: ControlPlane) {
  return new Hono().get('/metrics', describe(measuring), async (c) =>
    c.body(metricsText(await readMetrics(control)), 200, {
      'content-type': 'text/plain; version=0.0.4; charset=utf-8',
      'cache-control': 'no-store',
    }),
  )
}

const measuring = {
  summary: 'Tells numbers to watch, in the text format of Prometheus',
  description: 'Asking for them does not count as somebody being here, so agents do not poll faster for it.',
  tag: 'service',
  by: 'person',
  answers: {
    200: { what: 'Jobs by state, last successes, agents, leases.', text: 'Prometheus text format 0.0.4: gauges.' },
  },
} as const
