import { newJobId, type JobParams } from '@multiboard-sync/shared/job'
import type { CreateJob } from '@multiboard-sync/shared/protocol'
import { appendAudit } from '../audit/append-audit.ts'
import { appendEvents, controlEvent } from '../events/append-events.ts'
import type { Database } from '../store/open-database.ts'
import { chooseAgent } from './choose-agent.ts'
import { checkUndo } from './check-undo.ts'
import { readJob, type JobRow } from './job-row.ts'

// Long enough for an agent that restarts, short enough that nobody is surprised by a sync they had forgotten.
const START_WITHIN_S = 3600

/** Records what a person asks for. */
export async function createJob(database: Database, input: CreateJob, person: string): Promise<JobRow> {
  return await database.transaction(async (transaction) => {
    const id = newJobId()
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
    await appendAudit(transaction, {
      actor: person,
      action: 'job.asked',
      object: `job:${id}`,
      detail: { agent, ...namesIn(params) },
    })
    return await readJob(transaction, id)
  })
}

/** What of a job's parameters the audit keeps: which databases, archive and job; not which tables. */
function namesIn(params: JobParams): Record<string, string | boolean> {
  const { kind, ...rest } = params
  const names = Object.entries(rest).filter(([, value]) => typeof value === 'string' || typeof value === 'boolean')
  return { kind, ...(Object.fromEntries(names) as Record<string, string | boolean>) }
}

/**
 * What only one job at a time may hold. What changes nothing holds nothing that another job could want; a reindex reads
 * rows that no other job may exchange meanwhile.
 */
function exclusiveKey(params: JobParams, id: string): string {
  if (params.kind === 'export' || params.dry_run === true) return `source-only:${id}`
  return `target:${params.kind === 'reindex' ? params.source : params.target}`
}

const insertJob = `
  insert into multiboard.jobs (id, agent, kind, params, requested_by, exclusive_key, start_before)
  values ($1, $2, $3, $4, $5, $6, now() + $7 * interval '1 second')
`
