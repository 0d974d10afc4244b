import type { CryptoKey } from 'jose'
import { z } from 'zod'
import { jobIdSchema } from '@multiboard-sync/shared/job'
import { ORDER_MAX_AGE_S, orderSchema, type Order } from '@multiboard-sync/shared/order'
import type { Policy } from '@multiboard-sync/shared/policy'
import { evaluatePolicy, policyError } from '@multiboard-sync/shared/policy-evaluate'
import { openOrder } from '@multiboard-sync/shared/signed-order'
import { SyncError, type SyncErrorCode } from '@multiboard-sync/shared/sync-error'
import type { JournaledJob } from '../journal/journal.ts'
import type { SeenOrders } from './seen-orders.ts'

/*
 * The border between what anybody may send us and what this agent does. An order that comes out of verifyOrder was signed
 * by a pinned key, is meant for this agent, is fresh, was never taken before, says nothing we do not understand and asks
 * for nothing the policy denies. Everything is read from the verified bytes; nothing that came beside the token counts.
 * The checks run in the order of docs/PROTOCOL.md, the first that fails refuses, and when in doubt the answer is no.
 * It never opens a database: what only the databases can tell (are both the same?) and what only the archive can tell
 * (where did it come from?) is asked later, by the job itself, before anything is written.
 */

/** Clocks of two machines differ a little; NTP keeps them far below this. */
const TIME_TOLERANCE_S = 30
/** A clock that is further off than this makes every other time check worthless. */
const CLOCK_SKEW_MAX_MS = 60_000

/** Enough to find the mistake; whoever made the order does not decide how long the answer is. */
const DETAILS_MAX = 20

export interface OrderContext {
  /** This agent's id. */
  agent: string
  /** The control plane's origin. */
  issuer: string
  policy: Policy
  policySha256: string
  findKey(kid: string): Promise<CryptoKey | undefined>
  /** The Date header of the answer that brought the order; without one the order is refused. */
  serverDate: Date | undefined
  now(): Date
  seen: SeenOrders
  /** When jobs were begun, by target, as far as the policy counts them. */
  begun?: ReadonlyMap<string, readonly Date[]>
  /** What the journal knows of a job: it guards against replays too, should the list of seen orders be lost. */
  journaled(job: string): Promise<JournaledJob | undefined>
}

/** What the first checks read; the strict schema comes after them, so that a replay is called a replay. */
const envelopeSchema = z.looseObject({
  iss: z.unknown(),
  aud: z.unknown(),
  iat: z.int(),
  nbf: z.int(),
  exp: z.int(),
  jti: z.string().min(8).max(128),
  job: z.looseObject({ id: jobIdSchema, epoch: z.int().positive() }),
})
type Envelope = z.infer<typeof envelopeSchema>

/**
 * Verifies an order and remembers it on the disk; once this resolves, the same order is refused for ever. Throws a
 * SyncError whose code says which check failed (`order-*`, `clock-skew`, `policy-*`, `same-database`, `target-protected`).
 */
export async function verifyOrder(token: string, context: OrderContext): Promise<Order> {
  const payload = await openOrder(token, async (kid) => await context.findKey(kid))
  const envelope = parseEnvelope(payload)
  const journaled = await context.journaled(envelope.job.id)
  // Nothing is awaited from here to `remember`, so that of two equal orders at the same time one is refused.
  checkAddress(envelope, context)
  checkTime(envelope, context.now())
  checkClock(context.serverDate, context.now())
  checkNew(envelope, context.seen, journaled)
  const order = parseClaims(payload)
  checkPolicy(order, context)
  await context.seen.remember(order)
  return order
}

function parseEnvelope(payload: unknown): Envelope {
  const parsed = envelopeSchema.safeParse(payload)
  if (parsed.success) return parsed.data
  throw malformed(parsed.error)
}

function checkAddress({ iss, aud }: Envelope, { agent, issuer }: OrderContext): void {
  if (iss !== issuer) {
    throw refuse('order-wrong-issuer', 'The order was issued by another control plane.', {
      hint: 'CONTROL_PLANE_URL here and PUBLIC_URL of the control plane must have the same origin.',
    })
  }
  if (aud !== `agent:${agent}`) {
    throw refuse('order-wrong-audience', 'The order is addressed to another agent.', {
      hint: 'Each agent needs an AGENT_ID of its own.',
    })
  }
}

function checkTime({ iat, nbf, exp }: Envelope, now: Date): void {
  const nowS = now.getTime() / 1000
  if (exp - iat > ORDER_MAX_AGE_S || exp <= iat || exp <= nbf) {
    throw refuse('order-malformed', `An order lives from 1 to ${ORDER_MAX_AGE_S} seconds; this one does not.`)
  }
  if (exp + TIME_TOLERANCE_S <= nowS) {
    throw refuse('order-expired', 'The order has expired before it was begun.', {
      hint: "Ask for the job again; if this repeats, compare both machines' clocks.",
    })
  }
  if (Math.max(iat, nbf) - TIME_TOLERANCE_S > nowS) {
    throw refuse('order-not-yet-valid', 'The order is dated in the future.', { hint: "Compare both machines' clocks." })
  }
}

function checkClock(serverDate: Date | undefined, now: Date): void {
  const skewMs = serverDate ? Math.abs(serverDate.getTime() - now.getTime()) : Number.NaN
  // Written so that NaN (no Date header, or none that parses) refuses.
  if (skewMs <= CLOCK_SKEW_MAX_MS) return
  throw refuse(
    'clock-skew',
    "This machine's clock cannot be trusted: it differs from the control plane's or that is unknown.",
    {
      hint: "Synchronise this machine's clock (NTP), and let every proxy pass the Date header on.",
    },
  )
}

function checkNew({ jti, job }: Envelope, seen: SeenOrders, journaled: JournaledJob | undefined): void {
  if (seen.has(jti)) throw refuse('order-replayed', 'The order was taken before.', { hint: NEW_JOB })
  if (journaled?.hasEnded) throw refuse('order-replayed', 'This agent has ended this job before.', { hint: NEW_JOB })
  if (job.epoch <= Math.max(seen.newestEpoch(job.id), journaled?.epoch ?? 0)) {
    throw refuse('order-superseded', 'This agent has already taken this job with the same or a newer epoch.', {
      hint: NEW_JOB,
    })
  }
}

const NEW_JOB = 'Nothing was done again. To do the same once more ask for a new job.'

function parseClaims(payload: unknown): Order {
  const parsed = orderSchema.safeParse(payload)
  if (!parsed.success) {
    const unknown = parsed.error.issues.find((issue) => issue.code === 'unrecognized_keys')
    if (!unknown) throw malformed(parsed.error)
    throw refuse('order-unknown-claim', 'The order says something that this agent does not understand.', {
      hint: 'Update the agent: its control plane is newer.',
      details: unknown.keys.slice(0, DETAILS_MAX).map((key) => `unknown: ${[...unknown.path, key].join('.')}`),
    })
  }
  if (parsed.data.job.kind !== parsed.data.params.kind) {
    throw refuse('order-malformed', 'The order names two different kinds of job.')
  }
  return parsed.data
}

function checkPolicy({ policy_sha256, params }: Order, context: OrderContext): void {
  if (policy_sha256 !== context.policySha256) {
    throw refuse('policy-changed', "The order was made for another state of this agent's policy.", {
      hint: 'Ask for the job again: the control plane knows the new policy after the next poll.',
    })
  }
  if (params.kind !== 'restore') {
    const begun = 'target' in params ? context.begun?.get(params.target) : undefined
    const verdict = evaluatePolicy(context.policy, params, { now: context.now(), begun })
    if (!verdict.allowed) throw policyError(verdict)
  } else {
    checkRestoreTarget(params.target, context.policy)
  }
}

/** Where the archive came from is not known yet, so only what holds for every archive is decided here. */
function checkRestoreTarget(name: string, policy: Policy): void {
  const target = Object.hasOwn(policy.databases, name) ? policy.databases[name] : undefined
  if (!target) {
    throw refuse('database-unknown', `The agent knows no database "${name}".`, {
      hint: `It knows: ${Object.keys(policy.databases).join(', ') || 'none'}.`,
    })
  }
  if (target.protected && !policy.routes.some((route) => route.to === name)) {
    throw refuse('target-protected', `"${name}" is protected: it is never a target.`, {
      hint: 'Only a route in agent.yaml on the agent itself can change this.',
    })
  }
}

function malformed(error: z.ZodError): SyncError {
  return refuse('order-malformed', 'The signed claims do not have the form of an order.', {
    hint: 'Control plane and agent may be of different versions.',
    details: error.issues.slice(0, DETAILS_MAX).map(({ path }) => `wrong: ${path.join('.') || 'claims'}`),
  })
}

function refuse(code: SyncErrorCode, message: string, options: { hint?: string; details?: string[] } = {}): SyncError {
  return new SyncError(code, message, options)
}
