import { access, constants, mkdir } from 'node:fs/promises'
import { randomText } from '@multiboard-sync/shared/job'
import { formatNumberOf } from '@multiboard-sync/shared/sizes'
import { SyncError, toSyncError } from '@multiboard-sync/shared/sync-error'
import type { AgentContext } from '../context.ts'
import { findGenerations, findInTarget, findUploads } from '../find-leftovers.ts'
import type { OpenedContext } from '../open-context.ts'
import { checkCreateRight, majorOf } from '../plan/check-target.ts'
import { checkBlockers } from '../plan/make-plan.ts'
import { readBlockers } from '../postgres/blockers.ts'
import { pinText } from '../postgres/check-pinned.ts'
import type { DatabaseIdentity } from '../postgres/identity.ts'
import { openSource } from '../postgres/open-source.ts'
import { openTarget } from '../postgres/open-target.ts'
import { leftoversText } from './leftovers-text.ts'
import { checkControlPlane, checkOrderKeys } from './check-control-plane.ts'
import { checkSearch } from './check-search.ts'

export interface Finding {
  check: string
  ok: boolean
  /** What was found, or what is wrong. */
  text: string
  /** Findings in detail, one a line. */
  details?: string[]
  code?: string
  hint?: string
}

/** Checks everything a job would need, one finding a check, and goes on after each failure. Changes no database. */
export async function runDoctor(
  opened: OpenedContext,
  controlPlaneUrl: string | undefined,
  signal: AbortSignal,
  tell: (finding: Finding) => void,
): Promise<boolean> {
  const { context } = opened
  let isWell = true
  const check = async (name: string, work: () => Promise<string>): Promise<boolean> => {
    try {
      tell({ check: name, ok: true, text: await work() })
      return true
    } catch (thrown) {
      signal.throwIfAborted()
      isWell = false
      const { code, message, hint, details } = toSyncError(thrown)
      tell({ check: name, ok: false, text: message, code, hint, ...(details.length > 0 ? { details } : {}) })
      return false
    }
  }
  const hasState = await check('state folder', async () => await checkStateDir(context))
  if (controlPlaneUrl !== undefined) {
    await check('order keys', async () => await checkOrderKeys(opened))
    await check('control plane', async () => await checkControlPlane(opened, controlPlaneUrl, signal))
  }
  // Leftovers are those of the jobs that the state folder knows; what cannot be reached is told once.
  if ((await check('bucket', async () => await checkBucket(context, signal))) && hasState) {
    await check('bucket, leftovers', async () => leftoversText(await findUploads(context, signal)))
  }
  for (const [name, { role }] of Object.entries(context.policy.databases)) {
    const found: DatabaseIdentity[] = []
    const noted = async (work: Promise<Checked>): Promise<string> => {
      const { identity, text } = await work
      found.push(identity)
      return text
    }
    if (role !== 'target') {
      await check(`${name} as source`, async () => await noted(checkReading(context, name, signal)))
    }
    const isTarget = context.policy.routes.some((route) => route.to === name)
    if (isTarget) {
      const isReached = await check(`${name} as target`, async () => await noted(checkWriting(context, name, signal)))
      if (isReached && hasState) {
        await check(`${name}, leftovers`, async () => leftoversText(await findInTarget(context, name, signal)))
      }
    } else if (role === 'target')
      tell({ check: `${name} as target`, ok: true, text: 'no route leads there: never changed' })
    const [identity] = found
    if (identity) tell({ check: `${name}, fingerprint`, ok: true, text: fingerprintText(context, name, identity) })
  }
  if (Object.keys(context.policy.collections).length > 0) {
    const isReached = await check('search server', async () => await checkSearch(context, signal))
    if (isReached && hasState) {
      await check('search, leftovers', async () => leftoversText(await findGenerations(context, signal)))
    }
  }
  return isWell
}

/** A finding for people: a line, its details and what to do. */
export function findingText({ check, ok, text, details = [], code, hint }: Finding): string {
  return [
    `${ok ? 'ok  ' : 'FAIL'}  ${check}: ${code === undefined ? '' : `${code}: `}${text}`,
    ...details.map((detail) => `        - ${detail}`),
    ...(hint === undefined ? [] : [`      hint: ${hint}`]),
  ].join('\n')
}

async function checkStateDir({ stateDir }: AgentContext): Promise<string> {
  try {
    await mkdir(stateDir, { recursive: true })
    await access(stateDir, constants.R_OK | constants.W_OK)
    return `${stateDir} can be written to`
  } catch (cause) {
    throw new SyncError('config-invalid', `The state folder ${stateDir} cannot be written to.`, {
      hint: 'Set AGENT_STATE_DIR to a folder that belongs to the agent and survives a restart.',
      cause,
    })
  }
}

/** Objects under this name are made only here; deleting needs a right that the agent should not have, so one is reused. */
const PROBE = 'doctor/probe.txt'

async function checkBucket({ store, prefix }: AgentContext, signal: AbortSignal): Promise<string> {
  await store.check(signal)
  const key = prefix === '' ? PROBE : `${prefix}/${PROBE}`
  const text = randomText(16)
  await store.putText(key, text, { signal })
  const read = await store.getText(key, { signal, maxBytes: 1024 })
  if (read.toString() === text) return `"${store.bucket}" is there; writing and reading work`
  throw new SyncError('storage-failed', `What was written to "${store.bucket}" was not read back.`, {
    hint: 'The store answers with older contents; look for a cache in front of it.',
  })
}

interface Checked {
  text: string
  identity: DatabaseIdentity
}

async function checkReading(context: AgentContext, name: string, signal: AbortSignal): Promise<Checked> {
  await using source = await openSource(context.databaseUrl(name), 'doctor', signal)
  await using reader = await source.openReader('doctor')
  // What of this stands in a job's way depends on the tables that it names.
  const notes = (await readBlockers(reader)).map(({ kind, name: what }) => `; note: ${kind} ${what}`)
  const { serverVersion, encoding } = source.identity
  const tables = formatNumberOf(source.tables.filter((table) => table.isLeaf).length, 'table')
  const text = `PostgreSQL ${majorOf(serverVersion)}, ${encoding}, ${tables}, snapshots can be shared${notes.join('')}`
  return { text, identity: source.identity }
}

async function checkWriting(context: AgentContext, name: string, signal: AbortSignal): Promise<Checked> {
  await using target = await openTarget(context.databaseUrl(name), signal)
  await checkCreateRight(target.session)
  await checkBlockers(target)
  const major = majorOf(target.identity.serverVersion)
  const text = `PostgreSQL ${major}, accepts writes, no other job works on it, schemas may be created`
  return { text, identity: target.identity }
}

/** Lines to paste into agent.yaml, so that a URL that is pointed elsewhere is noticed (checkPinned). */
function fingerprintText({ policy }: AgentContext, name: string, identity: DatabaseIdentity): string {
  const { system_identifier, database_oid } = policy.databases[name] ?? {}
  if (system_identifier !== undefined && database_oid !== undefined) return 'as pinned in agent.yaml'
  return [`not pinned; to pin it, add under databases.${name} in agent.yaml:`, ...pinText(identity)].join('\n        ')
}
