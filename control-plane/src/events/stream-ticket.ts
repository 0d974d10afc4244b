import { SyncError } from '@multiboard-sync/shared/sync-error'
import type { ControlPlane } from '../control-plane.ts'
import type { Person } from '../people/person.ts'

/*
 * Tickets let a browser follow one job's events where it can send neither a header nor our cookie: the address itself
 * carries the proof, so it is worth little. A JWT by the order key with a `typ` of its own.
 *
 * Promises: good for one job, for reading, for ten minutes; within them as often as needed, because an EventSource comes
 * back to the same address. Never: kept anywhere, or written into a log.
 */

type Signing = Pick<ControlPlane, 'origin' | 'signer'>

const TICKET_TYPE = 'multiboard-sync-ticket+jwt'
const TICKET_SECONDS = 600
/** Two instances of a function may differ a little. */
const CLOCK_TOLERANCE_S = 5

const audienceOf = (job: string): string => `stream:${job}`

export async function makeTicket({ origin, signer }: Signing, job: string, person: Person) {
  const issuedAt = Math.floor(Date.now() / 1000)
  const expiresAt = issuedAt + TICKET_SECONDS
  const ticket = await signer.signOwn(TICKET_TYPE, {
    iss: origin,
    aud: audienceOf(job),
    sub: person.name,
    iat: issuedAt,
    exp: expiresAt,
  })
  return { ticket, expiresAt: new Date(expiresAt * 1000) }
}

/** Who holds a ticket for this job. Throws `unauthorized`. */
export async function openTicket({ origin, signer }: Signing, job: string, ticket: string): Promise<Person> {
  try {
    const { aud, sub } = await signer.verifyOwn(ticket, {
      issuer: origin,
      audience: audienceOf(job),
      typ: TICKET_TYPE,
      maxTokenAge: TICKET_SECONDS,
      clockTolerance: CLOCK_TOLERANCE_S,
      requiredClaims: ['sub', 'iat', 'exp'],
    })
    // jose takes a list that holds our job; we make no such ticket.
    if (aud !== audienceOf(job) || !sub) throw refused()
    return { name: sub, role: 'viewer', via: 'ticket' }
  } catch (cause) {
    throw refused(cause)
  }
}

function refused(cause?: unknown): SyncError {
  return new SyncError(
    'unauthorized',
    'The ticket is not one for the events of this job, or is older than ten minutes.',
    {
      hint: 'Ask for another with POST /v1/jobs/:id/stream-ticket.',
      cause,
    },
  )
}
