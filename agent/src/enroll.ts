import { enrollReplySchema, proveKey, type EnrollRequest } from '@multiboard-sync/shared/agent-key'
import { SyncError, toSyncError } from '@multiboard-sync/shared/sync-error'
import { z } from 'zod'
import { readKey } from './config/read-key.ts'
import { makeKeyFile } from './config/write-key.ts'
import type { EnrollEnv } from './env.ts'
import { parseUrl } from './poll/control-plane-client.ts'
import { postJson } from './poll/post-json.ts'
import { readTrustFile } from './verify/trust-file.ts'

/*
 * Makes this agent known to its control plane by a one-time code. Promises: a key file that is there is used and never
 * overwritten; a new key is on the disk before the code is spent, so that after a lost answer the same command is told the
 * same again. Never: writes the trust file. Whoever answers in the control plane's place could put a key of theirs there.
 */

/** A cold start of a function takes some seconds. */
const TIMEOUT_MS = 20_000

/** It is printed: a thumbprint (RFC 7638), and nothing that a terminal would obey. */
const replySchema = enrollReplySchema.extend({ signing_kid: z.string().regex(/^[A-Za-z0-9_-]{43}$/) })

export interface Enrolled {
  /** As the control plane knows it: AGENT_ID must say the same. */
  agent: string
  kid: string
  /** False: the key file was there before. */
  isNewKey: boolean
  /** Of the key with which orders will be signed, as the control plane says. */
  signingKid: string
  /** Whether the trust file lets it sign orders now; else why not. */
  trust: 'knows' | 'lacks' | SyncError
}

/** Throws `enrollment-refused`, `conflict`, `key-missing`, `config-invalid`, `control-plane-unreachable`. */
export async function enroll(env: EnrollEnv, code: string, version: string, signal: AbortSignal): Promise<Enrolled> {
  const base = parseUrl(env.CONTROL_PLANE_URL)
  const isNewKey = await makeKeyFile(env.AGENT_KEY_FILE)
  const key = await readKey(env.AGENT_KEY_FILE)
  const proof = await proveKey({ code, origin: base.origin }, key.privateKey)
  const request: EnrollRequest = { code, public_jwk: key.publicJwk, proof }
  const url = new URL('/v1/enroll', base.origin)
  const { reply } = await postJson(url, JSON.stringify(request), replySchema, {
    version,
    timeoutMs: TIMEOUT_MS,
    signal,
  })
  const { agent, signing_kid: signingKid } = reply
  return { agent, kid: key.kid, isNewKey, signingKid, trust: await lookUp(env.TRUST_FILE, signingKid) }
}

async function lookUp(trustFile: string, kid: string): Promise<Enrolled['trust']> {
  try {
    const trust = await readTrustFile(trustFile)
    return (await trust.findOrderKey(kid, new Date())) ? 'knows' : 'lacks'
  } catch (thrown) {
    return toSyncError(thrown)
  }
}
