import { stateNow, selectJob, viewJob, type JobRow } from '../../control-plane/src/jobs/job-row.ts'
import { isFinished } from '../../shared/src/job-state.ts'
import type { People } from './people.ts'
import type { World } from './world.ts'

interface Effect {
  job: string
  fence: string
}

/** True when no job is under way. What is lost while every agent is idle has nobody left who could end it. */
export async function isSettled({ control, simulation }: World): Promise<boolean> {
  const [row] = await simulation.busy(
    async () =>
      await control.database.query<{ open: boolean }>(
        `select exists (select from multiboard.jobs where state in ('queued', 'leased', 'running', 'canceling')) as open`,
      ),
  )
  return row?.open === false
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
  const isForgotten = scenario.faults.forgets || people.hazy.has(job.id)
  // Given on to a newer job, or never begun: nobody is left who could end it, and nothing is under way.
  const isOver = state === 'lost' && (fence > (job.fence ?? 0) || job.started_at === null || isForgotten)
  if (!isFinished(state) && !isOver) {
    oracle.violation(`${said}, and will be for ever`)
  }
  if (state === 'succeeded' && !hasReceipt) oracle.violation(`${said}, and the target has no receipt`)
  if (isForgotten) return
  const { target_state } = viewJob(job)
  const claimsChange = target_state === 'changed'
  // A machine that stood still without knowing may have changed its target after it was given up.
  const mayBeWrong = state === 'lost' && scenario.faults.bothClocksStop
  if (target_state !== 'unknown' && claimsChange !== hasReceipt && !mayBeWrong) {
    oracle.violation(`${said}, and the target has ${hasReceipt ? 'a' : 'no'} receipt`)
  }
}
