import { newJobId } from '@multiboard-sync/shared/job'
import type { Mapping } from '@multiboard-sync/shared/mapping'
import type { SearchMode } from '@multiboard-sync/shared/search'
import { formatCount, formatNumberOf } from '@multiboard-sync/shared/sizes'
import { SyncError } from '@multiboard-sync/shared/sync-error'
import type { Session } from '../../postgres/session.ts'
import type { Collection, Typesense } from '../../typesense/typesense.ts'
import type { CompiledMapping } from '../compiled-mapping.ts'
import { generationName, type Generation } from '../generation.ts'
import { compileMapping } from '../mapping/compile-mapping.ts'
import { describeDrift } from '../mapping/describe-drift.ts'
import { findUnfitRows } from '../mapping/find-unfit-rows.ts'
import { chooseMode } from './choose-mode.ts'
import { tried } from './in-snapshot.ts'
import type { SearchServer } from './inspect-server.ts'
import { locateLive } from './locate-live.ts'
import { lookAtRows, type RowsSeen } from './look-at-rows.ts'
import { findingOf, sentenceOf, uncapitalised } from './not-ready.ts'

/** One alias as it is now, and what a reindex of it would do. */
export interface InspectedCollection {
  alias: string
  mapping: Mapping
  /** Undefined when the mapping does not fit the database: the findings say why. */
  compiled: CompiledMapping | undefined
  live: Collection | undefined
  generation: Generation | undefined
  /** The live one bears the alias's own name. */
  isPlain: boolean
  /** How the live schema differs from the mapping's. */
  drift: string[]
  rows: RowsSeen | undefined
  mode: SearchMode
  reason: string
  /** Without the alias before them. */
  findings: string[]
  notices: string[]
}

export interface Looking {
  typesense: Typesense
  server: SearchServer
  /** In a transaction. */
  session: Session
  checkRows: boolean
  full: boolean
}

/** Everything that can be known of one alias before anything is changed. Writes nothing anywhere. */
export async function inspectCollection(
  looking: Looking,
  alias: string,
  mapping: Mapping,
): Promise<InspectedCollection> {
  const { session, server } = looking
  const located = locateLive(server, alias, {
    adopt: mapping.adopt,
    keepsCopy: looking.typesense.hasSets && mapping.keep > 0,
  })
  const { live, generation, isPlain } = located
  const findings = [...located.findings]
  const notices = [...located.notices]

  const attempt = await tried(session, async () => await compileMapping(session, alias, mapping))
  const compiled = attempt.ok ? attempt.value : undefined
  if (!attempt.ok) findings.push(...findingsOf(alias, attempt.error))

  const drift = compiled && live ? describeDrift(compiled.schema, live) : []
  notices.push(...drift.map((difference) => `schema: ${uncapitalised(difference)}`))
  const { mode, reason } = chooseMode({
    full: looking.full,
    alias,
    live: live?.name,
    generation,
    isPlain,
    drift,
    mappingSha256: compiled?.sha256 ?? '',
  })
  findings.push(...(await rightsFindings(looking, alias, mode, live)))
  findings.push(...missingSets(server, live))
  if (mode === 'full' && live) notices.push(...(await belongingsNotices(looking, live)))

  let rows: RowsSeen | undefined
  if (compiled && looking.checkRows) {
    const unfit = await tried(session, async () => await findUnfitRows(session, compiled))
    findings.push(...(unfit.ok ? unfit.value.map(uncapitalised) : findingsOf(alias, unfit.error)))
    const seen = await tried(session, async () => await lookAtRows(session, compiled))
    if (seen.ok) rows = seen.value
    // What is wrong with the query is told once.
    else if (unfit.ok) findings.push(...findingsOf(alias, seen.error))
    // A server that is catching up tells too few.
    if (rows) findings.push(...tooFew(mapping, rows.documents, server.isBehind ? undefined : live))
  }
  return { alias, mapping, compiled, live, generation, isPlain, drift, rows, mode, reason, findings, notices }
}

/** A mapping's own findings stand in the details; other errors are one finding. */
function findingsOf(alias: string, error: SyncError): string[] {
  if (error.code !== 'mapping-invalid' || error.details.length === 0) return [sentenceOf(error)]
  const own = `${alias}: `
  return error.details.map((detail) => uncapitalised(detail.startsWith(own) ? detail.slice(own.length) : detail))
}

const WRITING_BELONGINGS = new Set(['synonyms:upsert', 'overrides:upsert'])

async function rightsFindings(
  { typesense, server }: Looking,
  alias: string,
  mode: SearchMode,
  live: Collection | undefined,
): Promise<string[]> {
  // The probes would wait in the same queue; that there is one is a finding already.
  if (server.isBehind) return []
  const probe = generationName(alias, new Date(), newJobId())
  let missing: string[]
  try {
    missing = await typesense.missingRights(alias, probe)
  } catch (error) {
    if (!(error instanceof SyncError) || !error.retryable) throw error
    // It passes, and is the server's: whoever waits for it may go on with the collection.
    const finding = findingOf('search server', error)
    if (!server.findings.includes(finding)) server.findings.push(finding)
    return []
  }
  // Only a new generation of something that is there needs what belongs to it.
  const needed = missing.filter((right) => !WRITING_BELONGINGS.has(right) || (mode === 'full' && live !== undefined))
  if (needed.length === 0) return []
  return [
    `the key lacks ${needed.join(', ')} for ${alias} and its generations (make one as docs/TYPESENSE.md says; its collections must match ${alias}.*)`,
  ]
}

/** A new collection cannot be linked to a set that is not there: the server answers 404. */
function missingSets({ sets }: SearchServer, live: Collection | undefined): string[] {
  if (!sets || !live) return []
  const missing = [
    ...live.synonymSets.filter((name) => !sets.synonymSets.has(name)).map((name) => `the synonym set ${name}`),
    ...live.curationSets.filter((name) => !sets.curationSets.has(name)).map((name) => `the curation set ${name}`),
  ]
  return missing.map((set) => `${live.name} is linked to ${set}, which does not exist (make the set, or unlink it)`)
}

async function belongingsNotices({ typesense, server }: Looking, live: Collection): Promise<string[]> {
  if (typesense.hasSets) {
    const linked = [...live.synonymSets, ...live.curationSets]
    return linked.length > 0 && server.sets ? [`its links to ${linked.join(', ')} are carried over`] : []
  }
  try {
    const { synonyms, overrides } = await typesense.readBelongings(live.name)
    const both = [
      ...(synonyms.length > 0 ? [formatNumberOf(synonyms.length, 'synonym')] : []),
      ...(overrides.length > 0 ? [formatNumberOf(overrides.length, 'override')] : []),
    ]
    return both.length === 0 ? [] : [`${both.join(' and ')} of ${live.name}: copied to its successor`]
  } catch (error) {
    // What the key lacks is told once, among its rights.
    if (error instanceof SyncError && error.code === 'search-auth') return []
    throw error
  }
}

/** What the gate would refuse later is better known before the database has changed. */
function tooFew({ verify }: Mapping, documents: number, live: Collection | undefined): string[] {
  if (documents < verify.min_count) {
    return [
      `the rows make ${formatNumberOf(documents, 'document')}, and fewer than ${formatCount(verify.min_count)} are never made live (verify.min_count in agent.yaml)`,
    ]
  }
  const before = live?.documents ?? 0
  const lostPct = before === 0 ? 0 : ((before - documents) / before) * 100
  if (lostPct <= verify.max_shrink_pct) return []
  return [
    `${formatNumberOf(documents, 'document')} would take the place of ${formatCount(before)}: ${Math.floor(lostPct)} % fewer, and ${verify.max_shrink_pct} % is the limit (verify.max_shrink_pct in agent.yaml, when it is meant)`,
  ]
}
