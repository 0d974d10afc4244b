import { agentIdSchema } from '@multiboard-sync/shared/job'
import { COMPLETE_MAX_BYTES } from '@multiboard-sync/shared/protocol'
import type { RequestFacts } from '@multiboard-sync/shared/request-claims'
import { claimedAgent, verifyRequest } from '@multiboard-sync/shared/signed-request'
import { SyncError } from '@multiboard-sync/shared/sync-error'
import { createMiddleware } from 'hono/factory'
import { importJWK, type JWK } from 'jose'
import type { ControlPlane } from '../control-plane.ts'
import { readBody } from '../web/read-body.ts'

/** A caller proven by its signature over method, path and body. */
interface ProvenAgent {
  id: string
  /** The same for every try of one call. */
  jti: string
  /** RFC 7638 thumbprint of the key that signed: the agent's current one, or the one before it for a day. */
  kid: string
  /** How far its clock is ahead of ours. */
  clockSkewMs: number
  body: string
}

export interface AgentEnv {
  Variables: { agent: ProvenAgent }
}

interface KeyRow {
  state: 'active' | 'revoked'
  public_jwk: JWK
  key_thumbprint: string
  previous_jwk: JWK | null
  previous_thumbprint: string | null
}

/**
 * Lets through requests signed by a registered agent. Unknown agent, wrong key and altered request look the same outside;
 * that it was revoked, an agent learns only with its own signature. Read at every call: a revocation needs no time.
 */
export function requireAgent({ database, origin }: ControlPlane) {
  return createMiddleware<AgentEnv>(async function agent(c, next) {
    const authorization = c.req.header('authorization')
    const id = claimedAgent(authorization)
    const body = await readBody(c.req.raw, c.req.path.endsWith('/complete') ? COMPLETE_MAX_BYTES : undefined)
    const row = agentIdSchema.safeParse(id).success ? await findAgent(id) : undefined
    const { pathname, search } = new URL(c.req.url)
    const facts = { method: c.req.method, path: `${pathname}${search}`, body, origin }
    const proven = row && (await verifyByKeys(row, authorization, facts, id))
    if (!proven)
      throw new SyncError('unauthorized', "The request is not signed by a key of this control plane's agents.", {
        hint: "`pnpm agent doctor` on the agent tells more. Check AGENT_ID, CONTROL_PLANE_URL and the agent's clock.",
      })
    if (row.state === 'revoked') throw revoked()
    c.set('agent', { id, body, ...proven })
    await next()
  })

  async function findAgent(id: string): Promise<KeyRow | undefined> {
    const [row] = await database.query<KeyRow>(selectKeys, [id])
    return row
  }
}

const selectKeys = `
  select state, public_jwk, key_thumbprint,
    case when previous_until > now() then previous_jwk end as previous_jwk,
    case when previous_until > now() then previous_thumbprint end as previous_thumbprint
  from multiboard.agents where id = $1
`

/** With two keys, which of them signed is found by trying: the current one first. */
async function verifyByKeys(
  { public_jwk, key_thumbprint, previous_jwk, previous_thumbprint }: KeyRow,
  authorization: string | undefined,
  facts: RequestFacts,
  id: string,
): Promise<Omit<ProvenAgent, 'id' | 'body'>> {
  const verify = async (jwk: JWK, kid: string) => {
    const key = await importJWK(jwk, 'EdDSA')
    if (key instanceof Uint8Array) throw new TypeError('an agent is stored with a key that is none')
    return { kid, ...(await verifyRequest(authorization, facts, id, key)) }
  }
  try {
    return await verify(public_jwk, key_thumbprint)
  } catch (error) {
    if (!previous_jwk || !previous_thumbprint) throw error
    return await verify(previous_jwk, previous_thumbprint)
  }
}

function revoked(): SyncError {
  return new SyncError('agent-revoked', 'This agent was revoked: the control plane takes nothing from it any more.', {
    hint: 'If that was a mistake, an admin makes a code with POST /v1/enrollments, and the agent takes it with `enroll --code`.',
  })
}
