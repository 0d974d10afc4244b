import { toSyncError } from '@multiboard-sync/shared/sync-error'
import { readKey } from './config/read-key.ts'
import { readPolicy } from './config/read-policy.ts'
import type { AgentEnv } from './env.ts'
import { log } from './log.ts'
import { withSettings, type OpenedContext } from './open-context.ts'
import { readTrustFile } from './verify/trust-file.ts'

/*
 * The policy, the trust file and the agent's own key may change while it runs: SIGHUP has all read again. What is current
 * is replaced as a whole and never changed, so a running job keeps what it began with. A file that is not right leaves what
 * was read from it before in force, and the log says so; the others count all the same, so that a key can be revoked
 * whatever state the policy is in. Keys come from this file on this machine only, the environment is read at the start only.
 */

export interface Settings {
  /** The newest, once what was asked for has been read: whoever has sent the signal can rely on it. */
  current(): Promise<OpenedContext>
  /** Reads the files again. Never throws. */
  reload(): void
  /** Aborts when the next reload is done. */
  reloaded(): AbortSignal
}

export function openSettings(env: AgentEnv, opened: OpenedContext): Settings {
  let current = opened
  let reading = Promise.resolve()
  let announcing = new AbortController()

  const read = async (): Promise<void> => {
    const { policy, policySha256 } = current.context
    const [loaded, trust, key] = await Promise.all([
      orKept(env.AGENT_CONFIG, readPolicy(env.AGENT_CONFIG), { policy, sha256: policySha256 }),
      orKept(env.TRUST_FILE, readTrustFile(env.TRUST_FILE), current.trust),
      orKept(env.AGENT_KEY_FILE, readKey(env.AGENT_KEY_FILE), current.key),
    ])
    current = withSettings(current, env, { loaded, trust, key })
    log('info', 'The policy, the trust file and the key were read again.', {
      kid: key.kid,
      policy_sha256: loaded.sha256,
      policy_changed: loaded.sha256 !== policySha256,
      order_keys: trust.orderKids(),
    })
    announcing.abort()
    announcing = new AbortController()
  }
  return {
    current: async () => {
      await reading
      return current
    },
    reload: () => {
      reading = reading.then(read)
    },
    reloaded: () => announcing.signal,
  }
}

async function orKept<T>(path: string, reading: Promise<T>, kept: T): Promise<T> {
  try {
    return await reading
  } catch (thrown) {
    const { code, message, hint, details } = toSyncError(thrown)
    log('error', `${message} What was read from it before stays in force.`, {
      file: path,
      code,
      hint: `${hint} Then send SIGHUP again.`,
      details,
    })
    return kept
  }
}
