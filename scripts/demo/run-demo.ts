import { setTimeout as sleep } from 'node:timers/promises'

import { progressText } from '../../agent/src/cli/progress-line.ts'
import type { Progress } from '../../shared/src/event.ts'
import { jobViewSchema } from '../../shared/src/protocol.ts'
import { SyncError } from '../../shared/src/sync-error.ts'
import { callApi, type Api } from './call-api.ts'
import { describeProof, describeSearch, describeWhereabouts } from './describe-end.ts'
import { fillDatabases } from './fill-databases.ts'
import { followJob } from './follow-job.ts'
import type { DemoOptions } from './options.ts'
import { endOfJob, type DemoEnd } from './outcome.ts'
import { describeFound, searchParts, type Found } from './search-parts.ts'
import type { Screen } from './show-progress.ts'
import { startAgent } from './start-agent.ts'
import type { DemoSearch } from './start-search.ts'
import { startSurroundings, type Surroundings } from './start-surroundings.ts'

/** A Node process that reads its configuration and polls: a second, several on a busy machine. */
const agentTimeoutMs = 60_000
const askEveryMs = 100

export interface DemoListener {
  /** The job was asked for. */
  asked(job: NonNullable<DemoEnd['job']>): void
  /** The job has ended; everything stays up until this resolves. */
  ended(end: DemoEnd, texts: { proof: string; whereabouts: string }): Promise<void>
}

/**
 * The whole demo: servers, two databases, one sync asked for over HTTP and watched as it runs. Takes everything down in the
 * end. Throws when the job did not come to its end.
 */
export async function runDemo(
  options: DemoOptions,
  screen: Screen,
  signal: AbortSignal,
  listener: DemoListener,
): Promise<void> {
  const startedMs = performance.now()
  const say = (text: string) => screen.live(text)
  await using surroundings = await startSurroundings(options, say)
  signal.throwIfAborted()
  const { api, postgres, search } = surroundings
  screen.line(describeServers(surroundings))
  await callApi(api, 'POST', '/v1/agents', signal, surroundings.registration)
  await using agent = await startAgent(surroundings.agentEnv, surroundings.logFile)
  const { died } = agent
  // The agent starts meanwhile: it looks at no database before a job tells it to.
  await Promise.race([fillDatabases(postgres, options, say, signal), died])
  screen.line(`Databases: ${describeDatabases(options)}`)
  say('waiting for the agent to poll')
  await Promise.race([agentPolls(api, signal), died])
  const before = search && (await Promise.race([indexStaging(search, api, screen, signal), died]))
  const asked = { kind: 'sync', source: 'production', target: 'staging' }
  const { id, params } = jobViewSchema.parse(await callApi(api, 'POST', '/v1/jobs', signal, asked))
  listener.asked({ id, params })
  screen.line(`POST /v1/jobs ${JSON.stringify(asked)} → ${id}`)
  const job = await Promise.race([followJob(api, id, screen, signal), died])
  screen.endPhase()
  const after = search && (await searchParts(search, signal))
  const end = { ...endOfJob(job), ...(before && after ? { found: { before, after } } : {}) }
  const wholeSeconds = (performance.now() - startedMs) / 1000
  const proof = describeProof(end, screen.tables(), wholeSeconds)
  await Promise.race([listener.ended(end, { proof, whereabouts: describeWhereabouts(end, surroundings) }), died])
}

function describeServers({ postgres, search }: Surroundings): string {
  const standIn = search?.isStandIn ? ', a stand-in for Typesense' : ''
  const elsewhere = search && !search.isStandIn ? `; searches go to ${search.url}` : ''
  return `PostgreSQL ${postgres.major}, an object store${standIn} and the control plane run on 127.0.0.1${elsewhere}`
}

function describeDatabases({ load, stage }: DemoOptions): string {
  if (load === undefined) return 'production, and staging: an older, different copy'
  return `production as loaded, staging ${stage === undefined ? 'empty' : 'as loaded'}`
}

/** What an application finds before the sync: staging's own parts, which are in the search as they are in the tables. */
async function indexStaging(search: DemoSearch, api: Api, screen: Screen, signal: AbortSignal): Promise<Found[]> {
  const asked = { kind: 'reindex', source: 'staging' }
  const { id } = jobViewSchema.parse(await callApi(api, 'POST', '/v1/jobs', signal, asked))
  screen.line(`POST /v1/jobs ${JSON.stringify(asked)} → ${id}`)
  screen.live('  reindexing')
  const quiet = { event() {}, progress: (progress: Progress) => screen.live(`  ${progressText(progress)}`) }
  const { result } = endOfJob(await followJob(api, id, quiet, signal))
  if (result.outcome !== 'succeeded') {
    throw new SyncError('search-failed', `Staging could not be indexed: ${result.message ?? result.outcome}`, {
      hint: result.hint ?? '',
      details: result.details ?? [],
    })
  }
  const found = await searchParts(search, signal)
  screen.line(`  ${describeSearch(result)}\n${describeFound(found)}`)
  return found
}

/** A job needs an agent whose policy the control plane knows: wait for the first poll. */
async function agentPolls(api: Api, signal: AbortSignal): Promise<void> {
  const endsAt = performance.now() + agentTimeoutMs
  while (performance.now() < endsAt) {
    const answer = await callApi(api, 'GET', '/v1/agents', signal)
    const { agents } = answer as { agents: { last_seen_at: string | null }[] }
    if (agents.some(({ last_seen_at }) => last_seen_at !== null)) return
    await sleep(askEveryMs, undefined, { signal })
  }
  throw new SyncError('agent-unknown', `The agent has not polled within ${agentTimeoutMs / 1000} s.`, {
    hint: 'The machine may be too busy; try again.',
  })
}
