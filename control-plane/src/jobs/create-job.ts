import { createHash } from 'node:crypto'
import { newJobId, type JobParams } from '@multiboard-sync/shared/job'
import type { CreateJob } from '@multiboard-sync/shared/protocol'
import { SyncError } from '@multiboard-sync/shared/sync-error'
import { appendEvents, controlEvent } from '../events/append-events.ts'
import type { Database, Queries } from '../store/open-database.ts'
import { chooseAgent } from './choose-agent.ts'
import { checkUndo } from './check-undo.ts'
import { readJob, type JobRow } from './job-row.ts'

// Long enough for an agent that restarts, short enough that nobody is surprised by a sync they had forgotten.
const START_WITHIN_S = 3600

/**
 * Records what a person asks for. With an idempotency key, the same request again is the same job, also when 50 arrive
 * at once; another request under the key is `idempotency-conflict`.
 */
export async function createJob(
  database: Database,
  input: CreateJob,
  person: string,
  idempotencyKey: string | undefined,
): Promise<JobRow> {
  return await database.transaction(async (transaction) => {
    const id = newJobId()
    if (idempotencyKey !== undefined) {
      const earlier = await takeKey(transaction, { person, key: idempotencyKey, input, id })
      if (earlier !== undefined) return await readJob(transaction, earlier)
    }
    const { params } = input
    const asked = params.kind === 'undo' ? await checkUndo(transaction, params, input.agent) : input.agent
    const agent = await chooseAgent(transaction, params, asked)
    const seconds = input.start_within_seconds ?? START_WITHIN_S
    await transaction.query(insertJob, [
      id,
      agent,
      params.kind,
      JSON.stringify(params),
      person,
      exclusiveKey(params, id),
      seconds,
    ])
    await appendEvents(transaction, id, [controlEvent('job.queued', { agent, kind: params.kind, by: person })])
    return await readJob(transaction, id)
  })
}

/**
 * What only one job at a time may hold. What changes nothing holds nothing that another job could want; a reindex reads
 * rows that no other job may exchange meanwhile.
 */
function exclusiveKey(params: JobParams, id: string): string {
  if (params.kind === 'export' || params.dry_run === true) return `source-only:${id}`
  return `target:${params.kind === 'reindex' ? params.source : params.target}`
}

interface KeyUse {
  person: string
  key: string
  input: CreateJob
  id: string
}

/** Takes the key for this job; answers the job that has it already. Waits for a request with the same key under way. */
async function takeKey(transaction: Queries, { person, key, input, id }: KeyUse): Promise<string | undefined> {
  const sha256 = createHash('sha256').update(JSON.stringify(input)).digest('hex')
  const [taken] = await transaction.query<{ job: string }>(insertKey, [person, key, sha256, id])
  if (taken) return undefined
  const [earlier] = await transaction.query<{ job: string; request_sha256: string }>(
    'select job, request_sha256 from multiboard.idempotency_keys where actor = $1 and key = $2',
    [person, key],
  )
  if (earlier?.request_sha256 === sha256) return earlier.job
  throw new SyncError('idempotency-conflict', 'This idempotency key was used for another request.', {
    hint: 'Use a new key for a new request.',
  })
}

const insertKey = `
  insert into multiboard.idempotency_keys as known (actor, key, request_sha256, job) values ($1, $2, $3, $4)
  on conflict (actor, key) do update
    set request_sha256 = excluded.request_sha256, job = excluded.job, created_at = now()
    where known.created_at < now() - interval '1 day'
  returning job
`

const insertJob = `
  insert into multiboard.jobs (id, agent, kind, params, requested_by, exclusive_key, start_before)
  values ($1, $2, $3, $4, $5, $6, now() + $7 * interval '1 second')
`
