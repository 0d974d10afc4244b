import { access } from 'node:fs/promises'
import { SyncError, type SyncErrorCode } from '@multiboard-sync/shared/sync-error'
import { formatNumberOf } from '@multiboard-sync/shared/sizes'
import { keyFiles } from '../config/read-key.ts'
import type { OpenedContext } from '../open-context.ts'
import { connectControlPlane } from '../poll/control-plane-client.ts'
import { unreachable } from '../poll/control-plane-error.ts'

/** A cold start of a function takes some seconds. */
const TIMEOUT_MS = 20_000
/**
 * The Date header counts whole seconds. Behind the control plane's clock a request is taken for 60 s, ahead of it 30 s; an
 * order is refused when they differ by more than 60 s either way.
 */
const BEHIND_MAX_MS = 55_000
const AHEAD_MAX_MS = 25_000

/** Whether orders could be verified at all: which of the trusted keys may sign them now. Throws `key-missing`. */
export async function checkOrderKeys(trust: OpenedContext['trust']): Promise<string> {
  const now = new Date()
  const kids = trust.orderKids()
  const valid: string[] = []
  for (const kid of kids) if (await trust.findOrderKey(kid, now)) valid.push(kid)
  if (valid.length > 0) return `${formatNumberOf(valid.length, 'key')} may sign orders: ${valid.join(', ')}`
  throw new SyncError(
    'key-missing',
    kids.length === 0
      ? 'The trust file holds no key for orders.'
      : `None of the ${formatNumberOf(kids.length, 'order key')} of the trust file is valid today.`,
    { hint: "Put the control plane's public key into the trust file with the use order: every order is refused else." },
  )
}

interface Caller extends Pick<OpenedContext, 'context' | 'key'> {
  trust?: OpenedContext['trust'] | undefined
}

/** Reaches the control plane and compares clocks; needs no key. */
export async function reachControlPlane(url: string, signal: AbortSignal): Promise<void> {
  const skewMs = await readSkew(url, signal)
  if (skewMs > BEHIND_MAX_MS || skewMs < -AHEAD_MAX_MS) {
    const [seconds, way] = [Math.round(Math.abs(skewMs) / 1000), skewMs > 0 ? 'behind' : 'ahead of']
    throw new SyncError('clock-skew', `This machine's clock is ${seconds} s ${way} that of the control plane.`, {
      hint: 'Set both clocks by NTP: requests are refused from 30 s ahead or a minute behind, and so are orders.',
    })
  }
}

/** Reaches it, and calls it once as this agent, without polling or telling anything. */
export async function checkControlPlane(opened: Caller, url: string, signal: AbortSignal): Promise<string> {
  await reachControlPlane(url, signal)
  const { context, key, trust } = opened
  const { agent, version } = context
  const controlPlane = connectControlPlane({ url, agent, key: key.privateKey, version })
  const signingKid = await callOnce(controlPlane, opened, signal)
  if (trust && signingKid !== undefined && !(await trust.findOrderKey(signingKid, new Date()))) {
    throw new SyncError(
      'order-unknown-key',
      `The control plane signs with the key ${signingKid}, which is not trusted here.`,
      {
        hint: 'Take its public key from where the control plane was set up, see that its kid is this one, and add it with `pnpm keys trust`: every order is refused until then.',
      },
    )
  }
  const unfinished = await hasNextKey(key.path)
  return (
    `it answers, knows the agent "${agent}" by its key ${key.kid}, and the clocks agree` +
    (unfinished ? '; note: a rotation of the key was not finished, run `rotate-key` again' : '')
  )
}

/** The kid of the key that orders are signed with; undefined when the control plane is too old to say. */
async function callOnce(
  controlPlane: ReturnType<typeof connectControlPlane>,
  caller: Caller,
  signal: AbortSignal,
): Promise<string | undefined> {
  try {
    const { reply } = await controlPlane.archives({ archives: [] }, signal)
    return reply.signing_kid
  } catch (cause) {
    if (!(cause instanceof SyncError)) throw cause
    throw explained(cause, caller)
  }
}

/** Of a request that holds nothing but what every version has: they do not mean the same by it. */
const OTHER_PROTOCOL: ReadonlySet<SyncErrorCode> = new Set(['not-found', 'invalid-request', 'control-plane-refused'])

/** What an answer that refuses this agent says of what is wrong here; anything else as it is. */
function explained(cause: SyncError, { context: { agent, version }, key }: Caller): SyncError {
  if (OTHER_PROTOCOL.has(cause.code)) {
    return new SyncError(
      'control-plane-refused',
      `The control plane does not understand this agent, version ${version}: it speaks another version of the protocol.`,
      {
        hint: 'Upgrade the control plane first, then its agents; docs/UPGRADING.md tells which versions go together.',
        cause,
      },
    )
  }
  if (cause.code === 'agent-revoked') {
    return new SyncError(
      'agent-revoked',
      `The agent "${agent}" was revoked: the control plane takes nothing from it.`,
      {
        hint: 'If that was a mistake, have an admin make a code with POST /v1/enrollments, and run `pnpm agent enroll --code …`.',
        cause,
      },
    )
  }
  if (cause.code !== 'unauthorized') return cause
  return new SyncError('unauthorized', `The control plane does not know the agent "${agent}" by its key ${key.kid}.`, {
    hint: "Run `pnpm agent enroll --code …`, or `rotate-key` again if one was not finished; check AGENT_ID, and that CONTROL_PLANE_URL is the control plane's PUBLIC_URL.",
    cause,
  })
}

async function hasNextKey(keyFile: string): Promise<boolean> {
  return await access(keyFiles(keyFile).next).then(
    () => true,
    () => false,
  )
}

/** How far its clock is ahead of ours, in milliseconds, from the Date header of an answer to /healthz. */
async function readSkew(url: string, signal: AbortSignal): Promise<number> {
  const base = new URL(url)
  const address = new URL(`${base.pathname.replace(/\/$/, '')}/healthz`, base.origin)
  let response: Response
  try {
    const timeout = AbortSignal.timeout(TIMEOUT_MS)
    response = await fetch(address, { redirect: 'manual', signal: AbortSignal.any([signal, timeout]) })
    await response.body?.cancel()
  } catch (cause) {
    signal.throwIfAborted()
    throw unreachable('the connection failed', { cause, hint: HINT })
  }
  if (!response.ok) throw unreachable(`/healthz answers HTTP ${response.status}`, { hint: HINT })
  const date = Date.parse(response.headers.get('date') ?? '')
  if (Number.isNaN(date)) throw unreachable('its answer has no date', { hint: HINT })
  return date - Date.now()
}

const HINT = 'Check CONTROL_PLANE_URL, the network and what stands in front of the control plane.'
