import { enroll } from '../enroll.ts'
import type { EnrollEnv } from '../env.ts'
import { rotateKey } from '../rotate-key.ts'

/* What `enroll` and `rotate-key` tell whoever sits there, and what remains for them to do. */

interface Told {
  text: string
  json: Record<string, unknown>
}

export async function enrollCommand(env: EnrollEnv, code: string, version: string, signal: AbortSignal): Promise<Told> {
  const { agent, kid, isNewKey, signingKid, trust } = await enroll(env, code, version, signal)
  const remaining = [
    ...(agent === env.AGENT_ID ? [] : [`Set AGENT_ID=${agent} in the agent's environment; it says ${env.AGENT_ID}.`]),
    ...(trust === 'knows'
      ? []
      : [
          `${trust === 'lacks' ? `${env.TRUST_FILE} has no valid order key ${signingKid}.` : trust.message} ` +
            'Take the public key from where the control plane was set up, not from the network, ' +
            'see that its kid is the one above, and put it into the trust file with "use": "order".',
        ]),
  ]
  const lines = [
    `enrolled  as ${agent}`,
    `key       ${kid}, ${isNewKey ? 'made in' : 'already in'} ${env.AGENT_KEY_FILE}`,
    `orders    will be signed by ${signingKid}${trust === 'knows' ? ', which the trust file knows' : ''}`,
    ...remaining.map((line) => `to do     ${line}`),
    ...(remaining.length === 0 ? ['next      `pnpm agent doctor`, then `pnpm agent run`'] : []),
  ]
  return {
    text: lines.join('\n'),
    json: {
      agent,
      kid,
      key_file: env.AGENT_KEY_FILE,
      made_key: isNewKey,
      signing_kid: signingKid,
      trusts_signing_key: trust === 'knows',
      to_do: remaining,
    },
  }
}

export async function rotateKeyCommand(env: EnrollEnv, version: string, signal: AbortSignal): Promise<Told> {
  const { kid, previousKid, previousUntil } = await rotateKey(env, version, signal)
  const until = previousUntil === undefined ? 'not taken any more' : `taken until ${previousUntil}`
  const lines = [
    `key       ${kid}, in ${env.AGENT_KEY_FILE}`,
    `before    ${previousKid}, ${until}; archives signed with it stay readable here`,
    'to do     Send SIGHUP to the running agent, or start it anew, before then: it holds the key before in memory.',
    'to do     Where other agents read archives of this one, add the new public key to their trust files.',
  ]
  return { text: lines.join('\n'), json: { kid, previous_kid: previousKid, previous_until: previousUntil ?? null } }
}
