import { z } from 'zod'
import { agentIdSchema, jobIdSchema, jobParamsSchema } from './job.ts'

/** `typ` of an order's header. Every kind of token has its own, so that one can never be used as another. */
export const ORDER_TYPE = 'multiboard-sync-order+jwt'
/** An order is this long at most; anything larger is refused before it is parsed. */
export const ORDER_MAX_BYTES = 64 * 1024
/** From issue to start. The running time is bounded by the lease, not by this. */
export const ORDER_MAX_AGE_S = 300

export const sha256Schema = z.string().regex(/^[0-9a-f]{64}$/)

/** The signed claims of an order. Strict: a claim we do not know is a reason to refuse, not to ignore. */
export const orderSchema = z.strictObject({
  iss: z.string().min(1),
  /** One string, `agent:<id>`. An array is refused, also one that names us. */
  aud: z.templateLiteral(['agent:', agentIdSchema]),
  iat: z.int(),
  nbf: z.int(),
  exp: z.int(),
  jti: z.string().min(8).max(128),
  job: z.strictObject({
    id: jobIdSchema,
    kind: z.string(),
    epoch: z.int().positive(),
    fence: z.int().nonnegative(),
  }),
  requester: z.string().min(1).max(200),
  params: jobParamsSchema,
  policy_sha256: sha256Schema,
})
export type Order = z.infer<typeof orderSchema>
