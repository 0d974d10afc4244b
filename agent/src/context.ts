import { SyncError } from '@multiboard-sync/shared/sync-error'
import type { JobParams } from '@multiboard-sync/shared/job'
import type { Policy } from '@multiboard-sync/shared/policy'
import type { ArchiveSummary } from '@multiboard-sync/shared/manifest'
import type { Engine, TargetState } from '@multiboard-sync/shared/job'
import type { PlanView, TableProof } from '@multiboard-sync/shared/plan'
import type { Receipt } from '@multiboard-sync/shared/protocol'
import type { PlannedCollection, SearchResult } from '@multiboard-sync/shared/search'
import type { ObjectStore } from './archive/object-store.ts'
import type { ManifestSigner, ManifestTrust } from './archive/sign-manifest.ts'
import type { AgentEnv } from './env.ts'
import type { Journal } from './journal/journal.ts'
import type { Trace } from './lanes/trace.ts'
import type { ExportPlan, Plan } from './plan/plan.ts'
import type { DatabasePin } from './postgres/connect.ts'
import type { DatabaseUrl } from './postgres/session.ts'
import type { Lease } from './report/lease.ts'
import type { Reporter } from './report/reporter.ts'
import { openTypesense } from './typesense/open-typesense.ts'
import type { Typesense } from './typesense/typesense.ts'

/** What an agent is and has: read once at the start, handed down, never global. */
export interface AgentContext {
  agent: string
  version: string
  stateDir: string
  policy: Policy
  policySha256: string
  store: ObjectStore
  prefix: string
  signer: ManifestSigner
  trust: ManifestTrust
  /** The URL of a database that the policy names. Throws `database-unknown`, `config-invalid`. */
  databaseUrl: (name: string) => DatabaseUrl
  /** The search server, for as long as the signal lasts. Throws `search-not-configured`, and as openTypesense() does. */
  openTypesense: (signal: AbortSignal) => Promise<Typesense>
  /** False: the environment names no search server. */
  hasSearchServer: boolean
  /** How long a job waits for a search server that does not answer, before it leaves the index stale. */
  searchPatienceMs: number
}

/** A job as the agent runs it: from a verified order, or from the command line. */
export interface Job {
  id: string
  epoch: number
  /** The order's number for the target; absent for a local run. */
  fence: number | undefined
  params: JobParams
}

/** Who watches one run of a job, and what guards it. */
export interface JobRun {
  reporter: Reporter
  lease: Lease
  journal: Journal
  signal: AbortSignal
  /** What runs when, on which lane; written down at the end of the job. */
  trace: Trace
  /** Ends after the plan. */
  dryRun: boolean
  /** It was begun on its target before (beginAgain): that start is its own, and does not count against it. */
  isBegun?: boolean
  /** Somebody sits in front of it and is told the result: then only failures that nobody foresaw are logged, too. */
  isAttended?: boolean
  /** Filled as the job goes, so that also a failed one can say how far it came. */
  facts: JobFacts
}

export interface JobFacts {
  plan?: Plan
  /** Of an export that ends after its plan. */
  exportPlan?: ExportPlan
  /** Of an undo that swaps the previous tables back, and of a reindex. */
  planView?: PlanView
  /** What becomes of the search: as it was planned, and what came of it. */
  searchPlan?: PlannedCollection[]
  search?: SearchResult
  engine?: Engine
  targetState: TargetState
  archive?: ArchiveSummary
  safetyBackup?: ArchiveSummary
  receipt?: Receipt
  /** Table by table, what was found in the target before the commit. */
  proof?: TableProof[]
  /** The replaced tables are kept beside. */
  undoable?: boolean
  /** Rows written to the replaced tables while the job ran. */
  lateWrites?: number | undefined
  /** Of what was asked for: tables, rows and bytes (COPY text) that were copied. */
  tables: number
  rows: number
  bytes: number
}

export function newFacts(): JobFacts {
  return { targetState: 'untouched', tables: 0, rows: 0, bytes: 0 }
}

/** The URL for a name, by the rule <NAME>_DATABASE_URL or the policy's own url_env. */
export function databaseUrls(
  policy: Policy,
  value: (variable: string) => string | undefined,
): AgentContext['databaseUrl'] {
  return (name) => {
    const database = Object.hasOwn(policy.databases, name) ? policy.databases[name] : undefined
    if (!database) {
      throw new SyncError('database-unknown', `The agent knows no database "${name}".`, {
        hint: `It knows: ${Object.keys(policy.databases).join(', ') || 'none'}. Databases stand in agent.yaml.`,
      })
    }
    const variable = database.url_env ?? `${name.toUpperCase()}_DATABASE_URL`
    const url = value(variable)
    if (!url || !URL.canParse(url)) {
      throw new SyncError('config-invalid', `${variable} holds no URL for the database "${name}".`, {
        hint: `Set ${variable} to postgresql://user:password@host:5432/database in the agent's environment.`,
      })
    }
    const pinned = pinOf(database)
    return {
      name,
      url,
      viaProxy: database.via_proxy,
      ...(pinned ? { pinned } : {}),
      others: pinnedOthers(policy, name),
    }
  }
}

function pinOf({ system_identifier, database_oid }: Policy['databases'][string]): DatabasePin | undefined {
  const isPinned = system_identifier !== undefined || database_oid !== undefined
  return isPinned ? { systemIdentifier: system_identifier, databaseOid: database_oid } : undefined
}

/** A server alone may have databases under several names. */
function pinnedOthers(policy: Policy, name: string): (DatabasePin & { name: string })[] {
  return Object.entries(policy.databases).flatMap(([other, database]) => {
    const pinned = pinOf(database)
    const isWhole = pinned?.systemIdentifier !== undefined && pinned.databaseOid !== undefined
    return isWhole && other !== name ? [{ ...pinned, name: other }] : []
  })
}

/** The search server that the environment names; nothing is opened before a job needs it. */
export function searchServer({
  TYPESENSE_HOST: url,
  TYPESENSE_API_KEY: apiKey,
  TYPESENSE_PATIENCE_SECONDS: patienceSeconds,
}: Pick<AgentEnv, 'TYPESENSE_HOST' | 'TYPESENSE_API_KEY' | 'TYPESENSE_PATIENCE_SECONDS'>): Pick<
  AgentContext,
  'openTypesense' | 'hasSearchServer' | 'searchPatienceMs'
> {
  return {
    hasSearchServer: url !== undefined && apiKey !== undefined,
    searchPatienceMs: patienceSeconds * 1000,
    openTypesense: async (signal) => {
      if (url !== undefined && apiKey !== undefined) return await openTypesense({ url, apiKey, signal })
      throw new SyncError(
        'search-not-configured',
        'The agent knows no search server, and agent.yaml has collections.',
        {
          hint: 'Set TYPESENSE_HOST and TYPESENSE_API_KEY, or leave the search as it is with --no-reindex.',
        },
      )
    },
  }
}
