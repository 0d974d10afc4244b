import { listAgents } from '../agents/list-agents.ts'
import type { ControlPlane } from '../control-plane.ts'
import type { Database } from '../store/open-database.ts'
import type { Metric } from './metrics-text.ts'

/*
 * What there is to watch of the control plane, read from its database in four statements, each by an index: names, numbers
 * and states. Nothing is counted in memory, because another process may answer the next request.
 */

export async function readMetrics({ database, signer }: Pick<ControlPlane, 'database' | 'signer'>): Promise<Metric[]> {
  const [unfinished, recent, successes, agents] = await Promise.all([
    database.query<UnfinishedRow>(selectUnfinished),
    database.query<RecentRow>(selectRecent),
    lastSuccesses(database),
    listAgents(database, signer.kid),
  ])
  const perAgent = (
    name: string,
    help: string,
    value: (agent: (typeof agents)[number]) => number | undefined,
  ): Metric => ({
    name,
    help,
    values: agents.flatMap((agent) => {
      const found = value(agent)
      return found === undefined ? [] : [{ labels: { agent: agent.id }, value: found }]
    }),
  })
  const leases = unfinished.filter(({ lease_s }) => lease_s !== null)
  return [
    {
      name: 'unfinished_jobs',
      help: 'Jobs that wait or are at work, by kind and state.',
      values: unfinished.map(({ kind, state, jobs }) => ({ labels: { kind, state }, value: jobs })),
    },
    {
      name: 'oldest_queued_seconds',
      help: 'How long the job that has waited longest for an agent has waited.',
      values: unfinished
        .filter(({ state }) => state === 'queued')
        .map(({ kind, oldest_s }) => ({ labels: { kind }, value: oldest_s })),
    },
    {
      name: 'jobs_last_day',
      help: 'Jobs that were asked for within 24 hours, by kind and state.',
      values: recent.map(({ kind, state, jobs }) => ({ labels: { kind, state }, value: jobs })),
    },
    {
      name: 'events_last_day',
      help: 'Events of these jobs, by kind.',
      values: sumBy(
        recent,
        ({ kind }) => kind,
        ({ events }) => events,
      ).map(([kind, value]) => ({ labels: { kind }, value })),
    },
    {
      name: 'last_success_timestamp_seconds',
      help: 'When a job of this kind on this way last succeeded. An archive that is restored is no source.',
      values: successes.map(({ at_s, ...labels }) => ({ labels, value: at_s })),
    },
    {
      name: 'leases',
      help: 'Leases that agents hold, by kind of job.',
      values: sumBy(
        leases,
        ({ kind }) => kind,
        ({ held }) => held,
      ).map(([kind, value]) => ({ labels: { kind }, value })),
    },
    {
      name: 'shortest_lease_seconds',
      help: 'What is left of the lease that ends first; below 0 it has run out.',
      values: leases.length === 0 ? [] : [{ value: Math.min(...leases.map(({ lease_s }) => lease_s ?? 0)) }],
    },
    perAgent('agent_alive', '1 for an agent that has polled within a minute or holds a lease.', ({ alive }) =>
      Number(alive),
    ),
    perAgent('agent_last_seen_timestamp_seconds', 'When the agent last polled.', ({ last_seen_at: at }) =>
      at === null ? undefined : at.getTime() / 1000,
    ),
    perAgent(
      'agent_clock_skew_seconds',
      "How far the agent's clock was ahead at its last poll.",
      ({ clock_skew_ms: ms }) => (ms === null ? undefined : ms / 1000),
    ),
    perAgent(
      'agent_trusts_signing_key',
      '0 for an agent that would refuse the orders of the key that signs now.',
      ({ trusts_signing_key: trusts }) => (trusts === null ? undefined : Number(trusts)),
    ),
  ]
}

function sumBy<Row>(rows: readonly Row[], key: (row: Row) => string, value: (row: Row) => number): [string, number][] {
  const sums = new Map<string, number>()
  for (const row of rows) sums.set(key(row), (sums.get(key(row)) ?? 0) + value(row))
  return [...sums]
}

interface UnfinishedRow {
  kind: string
  state: string
  jobs: number
  oldest_s: number
  held: number
  lease_s: number | null
}

/** By the index jobs_unfinished. States are those of the clock, as everywhere: there is no cron that writes them down. */
const selectUnfinished = `
  select kind,
    case
      when state = 'queued' and start_before < now() then 'expired'
      when state <> 'queued' and lost_at < now() then 'lost'
      else state
    end as state,
    count(*)::int as jobs,
    extract(epoch from now() - min(created_at))::float8 as oldest_s,
    (count(*) filter (where lease_expires_at > now()))::int as held,
    extract(epoch from min(lease_expires_at) filter (where state <> 'queued') - now())::float8 as lease_s
  from multiboard.jobs where state in ('queued', 'leased', 'running', 'canceling')
  group by 1, 2 order by 1, 2
`

interface RecentRow {
  kind: string
  state: string
  jobs: number
  events: number
}

/** By the index jobs_newest_first. */
const selectRecent = `
  select kind, state, count(*)::int as jobs, sum(last_pos)::float8 as events
  from multiboard.jobs where created_at > now() - interval '1 day'
  group by 1, 2 order by 1, 2
`

interface SuccessRow {
  kind: string
  source: string
  target: string
  at_s: number
}

async function lastSuccesses(database: Database): Promise<SuccessRow[]> {
  return await database.query<SuccessRow>(selectSuccesses)
}

const successes = `
  select kind, coalesce(params ->> 'source', '') as source, coalesce(params ->> 'target', '') as target, finished_at
  from multiboard.jobs where state = 'succeeded' and params ->> 'dry_run' is null
`

/** From way to way by the index jobs_successes: as many steps as there are ways, however many jobs there were. */
const selectSuccesses = `
  with recursive way as (
    (select * from (${successes}) first order by kind, source, target, finished_at desc limit 1)
    union all
    select next.* from way, lateral (
      select * from (${successes}) later
      where (later.kind, later.source, later.target) > (way.kind, way.source, way.target)
      order by kind, source, target, finished_at desc limit 1
    ) next
  )
  select kind, source, target, extract(epoch from finished_at)::float8 as at_s from way
`
