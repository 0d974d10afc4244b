import { stateNow, selectJob, viewJob, type JobRow } from '../../control-plane/src/jobs/job-row.ts'
import { isFinished } from '../../shared/src/job-state.ts'
import type { People } from './people.ts'
import type { World } from './world.ts'

interface Effect {
  job: string
  fence: string
}

/** True when every job has an end, or can have none any more because its target was given on. */
export async function isSettled({ control, simulation }: World): Promise<boolean> {
  const [row] = await simulation.busy(
    async () =>
      await control.database.query<{ open: number }>(
        `select count(*)::int as open from multiboard.jobs
         where state in ('queued', 'leased', 'running', 'canceling') or state = 'lost' and finished_at is null and not exists (
           select from multiboard.target_fences f where f.exclusive_key = jobs.exclusive_key and f.fence > jobs.fence
         )`,
      ),
  )
  return row?.open === 0
}

/** After the last fault and a time of calm: every job has an end, and every end is true to what the target says. */
export async function checkEnd(world: World, people: People): Promise<void> {
  const { control, simulation, oracle, scenario, targets } = world
  const jobs = await simulation.busy(
    async () => await control.database.query<JobRow>(`${selectJob} from multiboard.jobs order by created_at`),
  )
  const fences = new Map(
    (
      await simulation.busy(
        async () =>
          await control.database.query<{ exclusive_key: string; fence: number }>(
            'select * from multiboard.target_fences',
          ),
      )
    ).map(({ exclusive_key, fence }) => [exclusive_key, fence]),
  )
  const receipts = new Map<string, string>()
  const effects: Effect[] = []
  for (const target of scenario.targets) {
    const place = targets.get(target)
    if (!place) throw new Error(`no target ${target}`)
    const client = await simulation.busy(async () => await place.pool.take())
    await simulation.busy(async () => {
      const rows = await client.query<{ job: string; target: string }>('select job from multiboard_sync.receipts')
      for (const { job } of rows.rows) receipts.set(job, target)
      effects.push(...(await client.query<Effect>('select job, fence from public.effects')).rows)
      const live = await client.query<{ job: string | null }>('select job from public.live')
      const last = oracle.commits.findLast((commit) => commit.target === target)
      if ((live.rows[0]?.job ?? undefined) !== last?.job) {
        oracle.violation(`${target} has the rows of ${live.rows[0]?.job}, not of ${last?.job}`)
      }
      await place.pool.giveBack(client)
    })
  }
  if (effects.length !== oracle.commits.length) oracle.violation('the targets have other changes than were seen')
  for (const { job } of effects) if (!receipts.has(job)) oracle.violation(`${job} changed its target without a receipt`)
  for (const job of receipts.keys()) {
    if (effects.filter((effect) => effect.job === job).length !== 1) oracle.violation(`${job} has not one effect`)
  }
  for (const job of jobs) checkJob(world, people, job, receipts.has(job.id), fences.get(job.exclusive_key) ?? 0)
}

function checkJob({ oracle, scenario }: World, people: People, job: JobRow, hasReceipt: boolean, fence: number): void {
  const state = stateNow(job)
  const said = `${job.id} is ${state}, ${viewJob(job).target_state}`
  const isForgotten = scenario.faults.forgets
  if (!isFinished(state) && !(state === 'lost' && (fence > (job.fence ?? 0) || isForgotten))) {
    oracle.violation(`${said}, and will be for ever`)
  }
  if (state === 'succeeded' && !hasReceipt) oracle.violation(`${said}, and the target has no receipt`)
  if (people.hazy.has(job.id) || isForgotten) return
  const { target_state } = viewJob(job)
  const claimsChange = target_state === 'changed'
  if (target_state !== 'unknown' && claimsChange !== hasReceipt) {
    oracle.violation(`${said}, and the target has ${hasReceipt ? 'a' : 'no'} receipt`)
  }
}
