import { formatNumberOf } from '@multiboard-sync/shared/sizes'
import { findSigners, type Signer } from '../archive/find-signers.ts'
import type { OpenedContext } from '../open-context.ts'

export type KnownSigner = Signer & {
  /** `own`: of this agent, now or before. `trusted`: by the trust file. `unknown`: its archives are refused here. */
  trust: 'own' | 'trusted' | 'unknown'
}

/** Everybody who has signed an archive of the bucket, and whether this agent believes them. Changes nothing. */
export async function readArchiveKeys(
  { context, key, trust }: OpenedContext,
  signal: AbortSignal,
): Promise<KnownSigner[]> {
  await context.store.check(signal)
  const signers = await findSigners(context, signal)
  return await Promise.all(
    signers.map(async (signer): Promise<KnownSigner> => {
      if (await key.findOwnKey(signer.kid)) return { ...signer, trust: 'own' }
      const isTrusted = (await trust.findArchiveKey(signer.kid, new Date())) !== undefined
      return { ...signer, trust: isTrusted ? 'trusted' : 'unknown' }
    }),
  )
}

const TRUST = { own: "this agent's own", trusted: 'in the trust file', unknown: 'NOT TRUSTED' }

export function archiveKeysText(signers: KnownSigner[]): string {
  if (signers.length === 0) return 'There are no archives yet.'
  const lines = signers.flatMap(({ kid, trust, archives, oldest, newest, agent, publicJwk }) => [
    `${kid}  ${TRUST[trust]}`,
    `    ${formatNumberOf(archives, 'archive')}, ${oldest === newest ? newest : `${oldest} to ${newest}`}${agent === undefined ? '' : `, by their own word of the agent "${agent}"`}`,
    ...(trust === 'unknown' ? toTrust(kid, publicJwk) : []),
  ])
  return lines.join('\n')
}

function toTrust(kid: string, publicJwk: Signer['publicJwk']): string[] {
  if (publicJwk === undefined) {
    return [
      "    Its public key is not in the bucket. Take it from a copy of the agent's files (agent.pub.json, agent.former.json).",
    ]
  }
  return [
    '    If you know this name as that of an agent of yours, add this to the keys of the trust file:',
    `    ${JSON.stringify({ kid, use: 'archive', jwk: publicJwk })}`,
  ]
}

/** The same for programs. */
export function archiveKeyJson({ kid, trust, archives, oldest, newest, agent, publicJwk }: KnownSigner): object {
  return { kid, trust, archives, oldest, newest, agent: agent ?? null, public_jwk: publicJwk ?? null }
}
