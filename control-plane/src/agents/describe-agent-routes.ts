import { rotateReplySchema, rotateRequestSchema } from '@multiboard-sync/shared/agent-key'
import {
  acceptReplySchema,
  acceptRequestSchema,
  archivesReplySchema,
  archivesRequestSchema,
  completeReplySchema,
  completeRequestSchema,
  pollReplySchema,
  pollRequestSchema,
  reportReplySchema,
  reportRequestSchema,
} from '@multiboard-sync/shared/protocol'
import type { SyncErrorCode } from '@multiboard-sync/shared/sync-error'
import { pathIds, type Description } from '../web/describe.ts'

/** The agents' side of protocol v1 for the document of the API. */

const tag = 'agent protocol'
const by = 'agent'
/** What an agent hears that holds no lease any more, or never held this one. */
const leaseLost: readonly SyncErrorCode[] = ['stale-epoch', 'fence-superseded', 'job-finished', 'conflict']

export const polling = {
  summary: 'Says who the agent is and what it may do, and fetches at most one order',
  description: 'The same `jti` of the signature gets the same order.',
  tag,
  by,
  body: pollRequestSchema,
  answers: { 200: { what: 'When to poll again, the order, and the jobs to stop.', schema: pollReplySchema } },
} as const satisfies Description

export const accepting = {
  summary: 'Accepts or refuses an order',
  tag,
  by,
  path: pathIds.job,
  body: acceptRequestSchema,
  answers: { 200: { what: 'The lease; 0 after a refusal.', schema: acceptReplySchema } },
  problems: leaseLost,
} as const satisfies Description

export const reporting = {
  summary: "Reports a running job's phase, progress and events, and renews its lease",
  description: 'A batch that is sent again changes nothing.',
  tag,
  by,
  path: pathIds.job,
  body: reportRequestSchema,
  answers: {
    200: { what: 'The lease, whether to stop, and up to where events are known.', schema: reportReplySchema },
  },
  problems: [...leaseLost, 'event-gap'],
} as const satisfies Description

export const completing = {
  summary: 'Ends a job with its result',
  description: 'The same again is the same answer.',
  tag,
  by,
  path: pathIds.job,
  body: completeRequestSchema,
  answers: {
    200: { what: 'The job has ended.', schema: completeReplySchema },
    202: { what: 'Not yet: send the events after `ack_aseq` first.', schema: completeReplySchema },
  },
  problems: leaseLost,
} as const satisfies Description

export const tellingArchives = {
  summary: 'Tells of the archives in the bucket',
  tag,
  by,
  body: archivesRequestSchema,
  answers: {
    200: { what: 'How many were taken, and the key that orders are signed with.', schema: archivesReplySchema },
  },
} as const satisfies Description

export const bringingKey = {
  summary: "Exchanges the agent's key",
  description:
    'Signed by the current key, proven by the new one. The one before is taken for another day. Asked again by either of them, it answers the same.',
  tag,
  by,
  body: rotateRequestSchema,
  answers: { 200: { what: 'The current key.', schema: rotateReplySchema } },
  problems: ['enrollment-refused', 'conflict'],
} as const satisfies Description
