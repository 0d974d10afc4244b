import { agentIdSchema } from '@multiboard-sync/shared/job'
import { COMPLETE_MAX_BYTES } from '@multiboard-sync/shared/protocol'
import { claimedAgent, verifyRequest } from '@multiboard-sync/shared/signed-request'
import { SyncError } from '@multiboard-sync/shared/sync-error'
import { createMiddleware } from 'hono/factory'
import { importJWK, type CryptoKey, type JWK } from 'jose'
import type { ControlPlane } from '../control-plane.ts'
import { readBody } from '../web/read-body.ts'

/** A caller proven by its signature over method, path and body. */
interface ProvenAgent {
  id: string
  /** The same for every try of one call. */
  jti: string
  body: string
}

export interface AgentEnv {
  Variables: { agent: ProvenAgent }
}

/** Lets through requests signed by a registered agent. Unknown agent, wrong key and altered request look the same outside. */
export function requireAgent({ database, origin }: ControlPlane) {
  return createMiddleware<AgentEnv>(async function agent(c, next) {
    const authorization = c.req.header('authorization')
    const id = claimedAgent(authorization)
    const body = await readBody(c.req.raw, c.req.path.endsWith('/complete') ? COMPLETE_MAX_BYTES : undefined)
    const key = agentIdSchema.safeParse(id).success ? await findKey(id) : undefined
    if (!key) throw new SyncError('unauthorized', "The request is not signed by a key of this control plane's agents.")
    const { pathname, search } = new URL(c.req.url)
    const facts = { method: c.req.method, path: `${pathname}${search}`, body, origin }
    const { jti } = await verifyRequest(authorization, facts, id, key)
    c.set('agent', { id, jti, body })
    await next()
  })

  async function findKey(id: string): Promise<CryptoKey | undefined> {
    const [row] = await database.query<{ public_jwk: JWK }>('select public_jwk from multiboard.agents where id = $1', [
      id,
    ])
    if (!row) return undefined
    const key = await importJWK(row.public_jwk, 'EdDSA')
    return key instanceof Uint8Array ? undefined : key
  }
}
