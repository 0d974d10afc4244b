import type { JobParams } from './job.ts'
import type { ArchiveKind } from './manifest.ts'
import { collectionsOf, durationMs, type RouteRules, type Rules } from './policy.ts'
import { nextOpening, parseWindow, type TimeWindow } from './policy-window.ts'
import { SyncError, type SyncErrorCode } from './sync-error.ts'

/*
 * What the agent says to a job. Pure, so that the control plane can show the answer in advance; the agent decides.
 * Deny by default, in this order: the databases, the way between them, the kind, the archive's age, the window, the rates.
 *
 * An undo and a safety backup that goes back to where it was taken from mend what a job has done: they need a route to
 * their target and are held back neither by windows nor by rates. A dry run changes nothing and begins nothing: it is not
 * held back by them either.
 */

/** A day's starts decide: `min_interval` is a day at most. */
export const STARTS_WITHIN_MS = 24 * 3600 * 1000

/** What a restore needs to know of its archive for the policy to decide. */
export interface ArchiveOrigin {
  source: string
  kind: ArchiveKind
  /** ISO 8601. */
  created_at: string
}

/** What is not in the job itself and decides all the same. */
export interface PolicyFacts {
  now: Date
  /** Of a restore. */
  archive?: ArchiveOrigin | undefined
  /** When jobs were begun on this target, in the day before `now`; in any order. */
  begun?: readonly Date[] | undefined
}

export type PolicyVerdict<Line extends RouteRules = RouteRules> = { allowed: true; route: Line | undefined } | Denial

interface Denial {
  allowed: false
  code: SyncErrorCode
  message: string
  hint: string
  /** Where time alone will change the answer: when. */
  next_allowed_at?: Date
}

/** The verdict names the route that the job runs on; none where none is needed. */
export function evaluatePolicy<Line extends RouteRules>(
  policy: Rules<Line>,
  params: JobParams,
  facts: PolicyFacts,
): PolicyVerdict<Line> {
  for (const name of databasesOf(params)) {
    if (!Object.hasOwn(policy.databases, name)) {
      return deny('database-unknown', `The agent knows no database "${name}".`, `It knows: ${known(policy)}.`)
    }
  }
  switch (params.kind) {
    case 'export':
      return policy.databases[params.source]?.role === 'target'
        ? deny(
            'policy-denied',
            `The policy gives "${params.source}" the role target only.`,
            'Give it the role source or both in agent.yaml.',
          )
        : { allowed: true, route: undefined }
    case 'sync':
      if (params.source === params.target) {
        return deny('same-database', 'Source and target are the same database.', 'Name two different databases.')
      }
      return evaluateFlow(policy, { from: params.source, to: params.target }, params, { ...facts, archive: undefined })
    case 'reindex':
      return evaluateReindex(policy, params.source, params.collections)
    case 'undo':
      return isTargeted(policy, params.target)
        ? { allowed: true, route: undefined }
        : deny('policy-denied', `No route of the policy leads to "${params.target}".`, 'Only a target can be undone.')
    case 'restore': {
      const { archive } = facts
      if (!archive)
        return deny('archive-unknown', 'The archive is not known.', 'List the archives and name one of them.')
      const isPutBack = archive.kind === 'safety-backup' && archive.source === params.target
      if (isPutBack && isTargeted(policy, params.target)) return { allowed: true, route: undefined }
      return evaluateFlow(policy, { from: archive.source, to: params.target }, params, facts)
    }
  }
}

/** The verdict as an error to throw. */
export function policyError({ code, message, hint }: Denial): SyncError {
  return new SyncError(code, message, { hint })
}

function databasesOf(params: JobParams): string[] {
  if (params.kind === 'export' || params.kind === 'reindex') return [params.source]
  return params.kind === 'sync' ? [params.source, params.target] : [params.target]
}

function evaluateReindex(policy: Rules, source: string, asked: string[] | undefined): PolicyVerdict<never> {
  const own = collectionsOf(policy, source)
  const isRouted = policy.routes.some(({ from, to }) => from === source || to === source)
  if (own.length === 0 && !isRouted) {
    return deny(
      'policy-denied',
      `The policy has neither a route nor a collection with "${source}".`,
      'Add the collection to agent.yaml on the agent, if it is meant.',
    )
  }
  if (own.length === 0) {
    return deny(
      'collection-unknown',
      `No collection of the policy is made of the rows of "${source}".`,
      'Collections stand in agent.yaml on the agent.',
    )
  }
  const foreign = asked?.find((alias) => !own.includes(alias))
  if (foreign === undefined) return { allowed: true, route: undefined }
  const elsewhere = Object.hasOwn(policy.collections ?? {}, foreign) ? policy.collections?.[foreign] : undefined
  return deny(
    'collection-unknown',
    elsewhere
      ? `The collection "${foreign}" is not made of the rows of "${source}".`
      : `The agent knows no collection "${foreign}".`,
    `Of "${source}" it knows: ${own.join(', ')}.`,
  )
}

function isTargeted(policy: Rules, name: string): boolean {
  return policy.databases[name]?.role !== 'source' && policy.routes.some((route) => route.to === name)
}

function evaluateFlow<Line extends RouteRules>(
  policy: Rules<Line>,
  { from, to }: { from: string; to: string },
  { kind, dry_run }: JobParams,
  facts: PolicyFacts,
): PolicyVerdict<Line> {
  const target = policy.databases[to]
  const line = policy.routes.find((one) => one.from === from && one.to === to)
  const isWay = line && target?.role !== 'source' && policy.databases[from]?.role !== 'target'
  const isOfKind = line?.kinds?.includes(kind) ?? true
  if (isWay && isOfKind) return evaluateLine(line, facts, dry_run === true) ?? { allowed: true, route: line }
  if (target?.protected) {
    return deny(
      'target-protected',
      `"${to}" is protected: it is never a target.`,
      'Only a route in agent.yaml on the agent itself can change this.',
    )
  }
  return deny(
    'policy-denied',
    isWay
      ? `The route from "${from}" to "${to}" is not for jobs of kind ${kind}.`
      : `The policy has no route from "${from}" to "${to}".`,
    isWay
      ? 'Add the kind to the route in agent.yaml on the agent, if it is meant.'
      : 'Add the route to agent.yaml on the agent, if it is meant.',
  )
}

function evaluateLine(line: RouteRules, facts: PolicyFacts, isDryRun: boolean): Denial | undefined {
  if (isTooOld(line, facts, facts.now)) {
    return deny(
      'archive-too-old',
      `The archive is from ${facts.archive?.created_at}; archives of "${line.from}" that are older than ${line.max_archive_age} are not restored.`,
      'Restore a younger one, or raise max_archive_age of the route in agent.yaml on the agent.',
    )
  }
  if (isDryRun) return undefined
  const held = [heldByWindow(line, facts.now), heldByRates(line, facts.begun ?? [], facts.now)].find(
    (one) => one !== undefined,
  )
  if (!held) return undefined
  const next = nextAllowedAt(line, facts)
  return {
    ...deny(held.code, held.message, next ? `Ask again at ${next.toISOString()} or later.` : held.hint),
    ...(next ? { next_allowed_at: next } : {}),
  }
}

function isTooOld({ max_archive_age }: RouteRules, { archive }: PolicyFacts, at: Date): boolean {
  const longestMs = max_archive_age === undefined ? undefined : durationMs(max_archive_age)
  if (longestMs === undefined || !archive) return false
  // Written so that a time that cannot be read is too old.
  return !(at.getTime() - Date.parse(archive.created_at) <= longestMs)
}

interface Held {
  code: 'window-closed' | 'too-many-jobs'
  message: string
  hint: string
  /** The first moment at which this does not hold back any more. */
  until: Date | undefined
}

function heldByWindow({ from, to, window: texts }: RouteRules, at: Date): Held | undefined {
  if (!texts) return undefined
  const windows = texts.flatMap((text): TimeWindow | [] => parseWindow(text) ?? [])
  const until = nextOpening(windows, at)
  if (until?.getTime() === at.getTime()) return undefined
  return {
    code: 'window-closed',
    message: `The route from "${from}" to "${to}" is closed now: it is open ${texts.join(', ')}.`,
    hint: 'Change the window of the route in agent.yaml on the agent, if it is meant.',
    until,
  }
}

function heldByRates(line: RouteRules, begun: readonly Date[], at: Date): Held | undefined {
  const { to, max_jobs_per_day: most, min_interval } = line
  const intervalMs = min_interval === undefined ? 0 : (durationMs(min_interval) ?? 0)
  const starts = begun.map((start) => start.getTime()).toSorted((a, b) => b - a)
  const [last] = starts
  // Of the last `most` starts the first one must be a day old.
  const eldest = most === undefined ? undefined : starts[most - 1]
  const ends = [eldest === undefined ? 0 : eldest + STARTS_WITHIN_MS, last === undefined ? 0 : last + intervalMs]
  const until = Math.max(...ends)
  if (at.getTime() >= until) return undefined
  const isDayFull = (ends[0] ?? 0) > at.getTime()
  return {
    code: 'too-many-jobs',
    message: isDayFull
      ? `On "${to}" as many jobs were begun in 24 hours as the route allows: ${most}.`
      : `On "${to}" a job was begun less than ${min_interval} ago.`,
    hint: 'Ask again later.',
    until: new Date(until),
  }
}

/** Rates only ever get better without a new start, so that each is looked at again once. */
function nextAllowedAt(line: RouteRules, facts: PolicyFacts): Date | undefined {
  const afterRates = heldByRates(line, facts.begun ?? [], facts.now)?.until ?? facts.now
  const window = heldByWindow(line, afterRates)
  const next = window ? window.until : afterRates
  return next && !isTooOld(line, facts, next) ? next : undefined
}

function known(policy: Rules): string {
  return Object.keys(policy.databases).join(', ') || 'none'
}

function deny(code: SyncErrorCode, message: string, hint: string): Denial {
  return { allowed: false, code, message, hint }
}
