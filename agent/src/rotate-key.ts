import { proveKey, rotateReplySchema, type RotateReply, type RotateRequest } from '@multiboard-sync/shared/agent-key'
import { signRequest } from '@multiboard-sync/shared/signed-request'
import { toSyncError } from '@multiboard-sync/shared/sync-error'
import { keyFiles, readKey, type AgentKey } from './config/read-key.ts'
import { makeKeyFile, promoteNextKey, rememberFormerKey } from './config/write-key.ts'
import type { EnrollEnv } from './env.ts'
import { parseUrl } from './poll/control-plane-client.ts'
import { postJson } from './poll/post-json.ts'

/*
 * Exchanges the agent's key for a new one. Its steps, each of which may be the last before a crash:
 *
 *   next key on the disk ─► taken by the control plane ─► old public key remembered ─► next key in the place of the current
 *
 * Until the last one the old key is the current one, and the control plane takes it for another day. The same command
 * again goes on with the same next key: asked twice the control plane answers the same. So there is no moment without a
 * key that counts, and none at which an archive's signature is forgotten.
 */

const TIMEOUT_MS = 20_000

export interface RotatedKey {
  kid: string
  previousKid: string
  /** So long the control plane takes the previous key, too; undefined when it does not any more. */
  previousUntil: string | undefined
}

/** Throws `key-missing`, `unauthorized`, `agent-revoked`, `conflict`, `control-plane-unreachable`. */
export async function rotateKey(env: EnrollEnv, version: string, signal: AbortSignal): Promise<RotatedKey> {
  const path = env.AGENT_KEY_FILE
  const { next: nextPath } = keyFiles(path)
  const current = await readKey(path)
  await makeKeyFile(nextPath)
  const next = await readKey(nextPath)
  const reply = await tell(env, current, next, version, signal)
  await rememberFormerKey(path, current.publicJwk)
  await promoteNextKey(path)
  return { kid: next.kid, previousKid: current.kid, previousUntil: reply.previous_until ?? undefined }
}

/** When an earlier attempt was taken and the old key's day is over, only the new one is known: then it speaks for itself. */
async function tell(
  env: EnrollEnv,
  current: AgentKey,
  next: AgentKey,
  version: string,
  signal: AbortSignal,
): Promise<RotateReply> {
  const ask = async (signer: AgentKey): Promise<RotateReply> => {
    const { origin } = parseUrl(env.CONTROL_PLANE_URL)
    const path = '/v1/agent/keys'
    const proof = await proveKey({ agent: env.AGENT_ID, origin }, next.privateKey)
    const request: RotateRequest = { public_jwk: next.publicJwk, proof }
    const body = JSON.stringify(request)
    const authorization = await signRequest({ method: 'POST', path, body, origin }, env.AGENT_ID, signer.privateKey)
    const options = { authorization, version, timeoutMs: TIMEOUT_MS, signal }
    return (await postJson(new URL(path, origin), body, rotateReplySchema, options)).reply
  }
  try {
    return await ask(current)
  } catch (refused) {
    if (toSyncError(refused).code !== 'unauthorized') throw refused
    // What the first attempt says is the better reason: for most agents the second one cannot succeed.
    return await ask(next).catch(() => Promise.reject(refused))
  }
}
