import {
  enrollmentReplySchema,
  enrollmentRequestSchema,
  enrollReplySchema,
  enrollRequestSchema,
} from '@multiboard-sync/shared/agent-key'
import { agentIdSchema } from '@multiboard-sync/shared/job'
import { inventorySchema } from '@multiboard-sync/shared/protocol'
import { z } from 'zod'
import { pathIds, type Description } from '../web/describe.ts'
import { registerAgentSchema } from './register-agent.ts'

/** What people do with agents, and how an agent becomes known, for the document of the API. */

const tag = 'agents'
const by = 'person'

const agentViewSchema = z
  .object({
    id: agentIdSchema,
    state: z.enum(['active', 'revoked']),
    alive: z
      .boolean()
      .meta({ description: 'It called within the last minute, or holds a lease that has not run out.' }),
    key_thumbprint: z.string(),
    previous_key_until: z.iso.datetime().nullable().meta({ description: 'So long the key before is taken, too.' }),
    created_at: z.iso.datetime(),
    revoked_at: z.iso.datetime().nullable(),
    revoked_by: z.string().nullable(),
    last_seen_at: z.iso.datetime().nullable(),
    clock_skew_ms: z.int().nullable().meta({
      description:
        'How far its clock was ahead at its last poll, to about a second. Beyond 30 s ahead or 60 s behind it is refused.',
    }),
    version: z.string().nullable(),
    policy_sha256: z.string().nullable(),
    trusted_kids: z.array(z.string()),
    trusts_signing_key: z.boolean().nullable().meta({
      description: 'Whether it would obey what is signed now; null before its first poll.',
    }),
    databases: z.array(inventorySchema),
  })
  .meta({ id: 'Agent' })

export const listing = {
  summary: 'Lists the agents',
  tag,
  by,
  revalidated: true,
  answers: {
    200: {
      what: 'All agents, and the key that orders are signed with.',
      schema: z.object({ agents: z.array(agentViewSchema), signing_kid: z.string() }),
    },
  },
} as const satisfies Description

const registered = z.object({ id: agentIdSchema })

export const registering = {
  summary: "Registers an agent's public key",
  description:
    'The same again changes nothing. An agent that was revoked, or has lost its key, comes back by an enrollment.',
  tag,
  by,
  body: registerAgentSchema,
  idempotent: true,
  answers: {
    200: { what: 'It was registered before.', schema: registered },
    201: { what: 'It is registered.', schema: registered },
  },
  problems: ['conflict'],
} as const satisfies Description

export const revoking = {
  summary: 'Revokes an agent',
  description:
    'From its next call on it is refused with `agent-revoked`; its open codes are void. A second time changes nothing.',
  tag,
  by,
  path: pathIds.agent,
  idempotent: true,
  answers: {
    200: {
      what: 'It is revoked.',
      schema: z.object({ id: agentIdSchema, state: z.literal('revoked'), revoked_at: z.iso.datetime() }),
    },
  },
} as const satisfies Description

export const inviting = {
  summary: 'Makes a one-time code that lets an agent in',
  description: 'For ten minutes and one key. An earlier code for the same agent is void from then on.',
  tag,
  by,
  body: enrollmentRequestSchema,
  idempotent: true,
  answers: { 201: { what: 'The code, shown this once and kept nowhere.', schema: enrollmentReplySchema } },
  problems: ['conflict'],
} as const satisfies Description

export const enrolling = {
  summary: "Makes a key an agent's by its one-time code",
  description:
    'Needs no other proof than the code, and that of the key. The same again by the same key is the same answer.',
  tag: 'agent protocol',
  by: 'anybody',
  body: enrollRequestSchema,
  answers: {
    200: { what: 'As what the agent is known, and the key that orders are signed with.', schema: enrollReplySchema },
  },
  problems: ['enrollment-refused', 'conflict'],
} as const satisfies Description
