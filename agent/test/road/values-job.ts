import { jobParamsSchema } from '@multiboard-sync/shared/job'
import type { JobResult } from '@multiboard-sync/shared/protocol'
import { runLocalJob } from '../../src/cli/run-local-job.ts'
import { readEnv } from '../../src/env.ts'
import { openContext } from '../../src/open-context.ts'
import type { Plan } from '../../src/plan/plan.ts'
import type { ReportSink } from '../../src/report/reporter.ts'
import type { World } from './world.ts'

/** Generous: the machine may be busy. */
const DEADLINE_MS = 90_000

interface JobOptions {
  /** Environment over the world's own. */
  env?: Record<string, string>
  dryRun?: boolean
  /** Sees every event's type and data. */
  onEvent?: (type: string, data: unknown) => void
}

/** Runs one job as the command line would, in this process: a child for each would cost a second or two. */
export async function runJobHere(
  world: World,
  params: Record<string, unknown>,
  options: JobOptions = {},
): Promise<Omit<JobResult, 'plan'> & { plan: Plan | undefined }> {
  await using opened = await openContext(readEnv({ ...world.env, ...options.env }))
  const sink: ReportSink = {
    phase: () => undefined,
    event: ({ type, data }) => options.onEvent?.(type, data),
    progress: () => undefined,
  }
  const { result, plan } = await runLocalJob(opened, jobParamsSchema.parse(params), {
    dryRun: options.dryRun ?? false,
    sinks: [sink],
    signal: AbortSignal.timeout(DEADLINE_MS),
  })
  return { ...result, plan }
}

/** production → staging. Throws, with the job's own words, when it does not succeed. */
export async function syncHere(world: World, params: Record<string, unknown> = {}): Promise<Omit<JobResult, 'plan'>> {
  return mustSucceed(await runJobHere(world, { kind: 'sync', source: 'production', target: 'staging', ...params }))
}

/** Throws, with the job's own words, when it did not succeed. */
export function mustSucceed<Result extends Omit<JobResult, 'plan'>>(result: Result): Result {
  if (result.outcome === 'succeeded') return result
  throw new Error([`${result.code}: ${result.message}`, ...(result.details ?? [])].join('\n'))
}
