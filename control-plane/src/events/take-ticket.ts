import { createMiddleware } from 'hono/factory'
import type { ControlPlane } from '../control-plane.ts'
import type { PersonEnv } from '../people/person.ts'
import { openTicket } from './stream-ticket.ts'

/** Before requirePerson, on GET /v1/jobs/:id/events alone: who comes with a ticket is who the ticket was made for. */
export function takeTicket(control: ControlPlane) {
  return createMiddleware<PersonEnv, '/v1/jobs/:id/events'>(async function ticket(c, next) {
    const brought = c.req.query('ticket')
    if (brought !== undefined && c.req.method === 'GET') {
      c.set('person', await openTicket(control, c.req.param('id'), brought))
    }
    await next()
  })
}
