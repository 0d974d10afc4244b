import pg from 'pg'

/** A control plane with a past. */
export interface Past {
  agents: readonly string[]
  /** Those with a running job, and one that waits for it. */
  busy: readonly string[]
  jobs: number
  eventsPerJob: number
}

/**
 * Fills the tables as years of use would: ended jobs with results and events, and a running and a waiting job of each busy
 * agent. The agents are registered already. Returns the ids of the running jobs, in the order of the agents.
 */
export async function fillControlPlane(url: string, { agents, busy, jobs, eventsPerJob }: Past): Promise<string[]> {
  // A connection of its own: the control plane's statements take milliseconds, and have a deadline.
  const database = new pg.Client(url)
  await database.connect()
  await database.query(insertEnded, [jobs, agents, JSON.stringify(RESULT)])
  await database.query(insertActive, [busy])
  await database.query(insertFences)
  await database.query(insertEvents, [eventsPerJob])
  await database.query('update multiboard.jobs set last_pos = $1, last_aseq = $1', [eventsPerJob])
  await database.query(insertArchives, [agents])
  // One statement each: vacuum wants to be alone.
  for (const table of ['jobs', 'events', 'target_fences', 'archives', 'agents']) {
    await database.query(`vacuum analyze multiboard.${table}`)
  }
  const { rows } = await database.query<{ id: string }>(
    `select id from multiboard.jobs where state = 'running' order by array_position($1::text[], agent)`,
    [agents],
  )
  await database.end()
  return rows.map(({ id }) => id)
}

const RESULT = {
  outcome: 'succeeded',
  target_state: 'changed',
  tables: 40,
  rows: 1e6,
  bytes: 1e8,
  seconds: 60,
  peak_rss_mb: 90,
}

/** Ids as newJobId() makes them: `j` and twelve characters. */
const insertEnded = `
  insert into multiboard.jobs (id, agent, kind, params, requested_by, created_at, start_before, state, target_state,
    exclusive_key, epoch, fence, phase, started_at, finished_at, result)
  select 'j' || lpad(n::text, 12, '0'), agent, 'sync',
    jsonb_build_object('kind', 'sync', 'source', 'production', 'target', agent, 'engine', 'auto'), 'admin',
    date_trunc('milliseconds', now() - n * interval '10 minutes'), now() - n * interval '10 minutes' + interval '1 hour',
    case when n % 10 = 0 then 'failed' else 'succeeded' end, 'changed', 'target:' || agent, 1, 1, 'cleanup',
    now() - n * interval '10 minutes', now() - n * interval '10 minutes' + interval '40 seconds', $3::jsonb
  from generate_series(1, $1::integer) n, lateral (select ($2::text[])[1 + n % cardinality($2::text[])] as agent) a
`

const insertActive = `
  insert into multiboard.jobs (id, agent, kind, params, requested_by, start_before, state, exclusive_key, epoch, fence,
    phase, started_at, lease_expires_at, lost_at)
  select 'j' || what || lpad(n::text, 11, '0'), agent, 'sync',
    jsonb_build_object('kind', 'sync', 'source', 'production', 'target', agent, 'engine', 'auto'), 'admin',
    now() + interval '1 hour', case what when 'r' then 'running' else 'queued' end, 'target:' || agent,
    case what when 'r' then 1 else 0 end, case what when 'r' then 1 end, 'loading', now(),
    now() + interval '1 hour', now() + interval '1 hour'
  from unnest($1::text[]) with ordinality as a (agent, n), unnest(array['r', 'q']) as what
`

/** And of targets that are no more. */
const insertFences = `
  insert into multiboard.target_fences
  select distinct exclusive_key, 1 from multiboard.jobs union all select 'target:gone' || n, 1 from generate_series(1, 2000) n
`

const insertEvents = `
  insert into multiboard.events (job, pos, src, epoch, aseq, type, level, at, data)
  select id, pos, 'agent', 1, pos, 'table.exported', 'info', now(),
    jsonb_build_object('table', 'public.Component', 'rows', pos, 'bytes', pos * 100)
  from multiboard.jobs, generate_series(1, $1::integer) pos
`

const insertArchives = `
  insert into multiboard.archives (id, agent, created_at, summary)
  select '20261122T080312Z-production-' || lpad(n::text, 4, '0'), ($1::text[])[1 + n % cardinality($1::text[])],
    now() - n * interval '1 hour', '{}'
  from generate_series(1, 2000) n
`
