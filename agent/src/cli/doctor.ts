import { toSyncError } from '@multiboard-sync/shared/sync-error'
import { findGenerations, findInTarget, findUploads } from '../find-leftovers.ts'
import type { OpenedContext } from '../open-context.ts'
import { checkBucket } from './check-bucket.ts'
import { checkClocks, type Clocks } from './check-clocks.ts'
import { checkControlPlane, checkOrderKeys, reachControlPlane } from './check-control-plane.ts'
import { checkReading, checkRoute, checkWriting, fingerprintText, type CheckedDatabase } from './check-databases.ts'
import { checkSearch } from './check-search.ts'
import { checkStateDir } from './check-state-dir.ts'
import { leftoversText } from './leftovers-text.ts'

export interface Finding {
  check: string
  ok: boolean
  /** What was found, or what is wrong. */
  text: string
  /** Not looked at, because something that it needs is wrong and was told before. */
  skipped?: boolean
  /** Findings in detail, one a line. */
  details?: string[]
  /** What is no fault and worth a thought, one a line. */
  notes?: string[]
  code?: string
  hint?: string
}

/** What a check that went well has to say. */
export interface Found {
  text: string
  notes?: string[]
}

/** What doctor looks with: all that could be read. What could not be was told before (open-for-doctor.ts). */
export interface Doctored extends Pick<OpenedContext, 'context'> {
  key?: OpenedContext['key'] | undefined
  trust?: OpenedContext['trust'] | undefined
  /** Variables whose values are wrong: what needs them is skipped. */
  wrong?: ReadonlySet<string>
}

/** Runs one check and tells what it found; true when it went well. Throws when the signal is aborted. */
export type Check = (name: string, work: () => Promise<string | Found> | string | Found) => Promise<boolean>

export function startChecks(
  signal: AbortSignal,
  tell: (finding: Finding) => void,
): { check: Check; isWell: () => boolean } {
  let isWell = true
  const check: Check = async (name, work) => {
    try {
      const found = await work()
      const { text, notes = [] } = typeof found === 'string' ? { text: found } : found
      tell({ check: name, ok: true, text, ...(notes.length > 0 ? { notes } : {}) })
      return true
    } catch (thrown) {
      signal.throwIfAborted()
      isWell = false
      const { code, message, hint, details } = toSyncError(thrown)
      tell({ check: name, ok: false, text: message, code, hint, ...(details.length > 0 ? { details } : {}) })
      return false
    }
  }
  return { check, isWell: () => isWell }
}

/** Checks everything a job would need, one finding a check, and goes on after each failure. Changes no database. */
export async function runDoctor(
  doctored: Doctored,
  controlPlaneUrl: string | undefined,
  signal: AbortSignal,
  tell: (finding: Finding) => void,
): Promise<boolean> {
  const { context, key, trust, wrong = new Set<string>() } = doctored
  const { check, isWell } = startChecks(signal, tell)
  const clocks: Clocks = new Map()
  const skip = (name: string, why: string): void => tell({ check: name, ok: false, skipped: true, text: why })
  /** Undefined: nothing that it needs is wrong. */
  const wrongAmong = (matches: (variable: string) => boolean): string | undefined => {
    const names = [...wrong].filter(matches)
    return names.length === 0 ? undefined : `not looked at until this is right: ${names.join(', ')}`
  }

  const hasState = await check('state folder', async () => await checkStateDir(context.stateDir))
  if (controlPlaneUrl !== undefined) {
    if (trust) await check('order keys', async () => await checkOrderKeys(trust))
    const unknown = key ? wrongAmong((name) => name === 'AGENT_ID') : 'not called as this agent: it has no key'
    await check('control plane', async () => {
      if (key && unknown === undefined) return await checkControlPlane({ context, key, trust }, controlPlaneUrl, signal)
      await reachControlPlane(controlPlaneUrl, signal)
      return `it answers, and the clocks agree; ${unknown}`
    })
  }
  const bucketWrong = wrongAmong((name) => name.startsWith('S3_'))
  // Leftovers are those of the jobs that the state folder knows; what cannot be reached is told once.
  if (bucketWrong !== undefined) skip('bucket', bucketWrong)
  else if ((await check('bucket', async () => await checkBucket(context, clocks, signal))) && hasState) {
    await check('bucket, leftovers', async () => leftoversText(await findUploads(context, signal)))
  }
  await checkDatabases({ ...doctored, clocks, hasState, check, skip, wrongAmong, tell }, signal)
  if (Object.keys(context.policy.collections).length > 0) {
    const searchWrong = wrongAmong((name) => name.startsWith('TYPESENSE_'))
    if (searchWrong !== undefined) skip('search server', searchWrong)
    else if ((await check('search server', async () => await checkSearch(context, signal))) && hasState) {
      await check('search, leftovers', async () => leftoversText(await findGenerations(context, signal)))
    }
  }
  if (clocks.size > 0) await check('clocks', () => checkClocks(clocks))
  return isWell()
}

interface Looking extends Doctored {
  clocks: Clocks
  hasState: boolean
  check: Check
  skip: (name: string, why: string) => void
  wrongAmong: (matches: (variable: string) => boolean) => string | undefined
  tell: (finding: Finding) => void
}

async function checkDatabases(
  { context, clocks, hasState, check, skip, wrongAmong, tell }: Looking,
  signal: AbortSignal,
): Promise<void> {
  const { databases, routes } = context.policy
  const sources = new Map<string, CheckedDatabase>()
  const targets = new Map<string, CheckedDatabase>()
  for (const [name, { role, url_env }] of Object.entries(databases)) {
    const variable = url_env ?? `${name.toUpperCase()}_DATABASE_URL`
    const urlWrong = wrongAmong((wrong) => wrong === variable)
    if (urlWrong !== undefined) {
      skip(name, urlWrong)
      continue
    }
    if (role !== 'target') {
      await check(`${name} as source`, async () => {
        const found = await checkReading(context, name, clocks, signal)
        sources.set(name, found)
        return found.text
      })
    }
    if (routes.some((route) => route.to === name)) {
      const isReached = await check(`${name} as target`, async () => {
        const found = await checkWriting(context, name, clocks, signal)
        targets.set(name, found)
        return found.text
      })
      if (isReached && hasState) {
        await check(`${name}, leftovers`, async () => leftoversText(await findInTarget(context, name, signal)))
      }
    } else if (role === 'target')
      tell({ check: `${name} as target`, ok: true, text: 'no route leads there: never changed' })
    const { identity } = sources.get(name) ?? targets.get(name) ?? {}
    if (identity) tell({ check: `${name}, fingerprint`, ok: true, text: fingerprintText(context, name, identity) })
  }
  for (const { from, to } of routes) {
    const [source, target] = [sources.get(from), targets.get(to)]
    if (source && target) await check(`route ${from} to ${to}`, () => checkRoute(source, target))
  }
}

/** A finding for people: a line, its details and what to do. */
export function findingText({ check, ok, skipped, text, details = [], notes = [], code, hint }: Finding): string {
  return [
    `${ok ? 'ok  ' : skipped ? 'skip' : 'FAIL'}  ${check}: ${code === undefined ? '' : `${code}: `}${text}`,
    ...details.map((detail) => `        - ${detail}`),
    ...notes.map((note) => `      note: ${note}`),
    ...(hint === undefined ? [] : [`      hint: ${hint}`]),
  ].join('\n')
}
