import { cancelJob } from '../../control-plane/src/jobs/cancel-job.ts'
import { createJob } from '../../control-plane/src/jobs/create-job.ts'
import { createJobSchema } from '../../shared/src/protocol.ts'
import { SyncError } from '../../shared/src/sync-error.ts'
import { BACKED_UP } from './open-lane.ts'
import type { World } from './world.ts'

/** What people do to a history: ask, cancel, put an old backup back, put lost jobs back into the queue. */
export interface People {
  /** Jobs of which the control plane has forgotten or was told something that was not so. */
  readonly hazy: Set<string>
  readonly asked: Map<string, { target: string; agent: string }>
}

export function startPeople(world: World): People {
  const { simulation, scenario, random } = world
  const people: People = { hazy: new Set(), asked: new Map() }
  for (let n = 0; n < scenario.jobs; n += 1) {
    const own = random.fork(`job ${n}`)
    simulation.start(async () => {
      // Most at the beginning, so that they meet.
      await simulation.sleep(own.between(0, scenario.chaosMs * (own.chance(0.7) ? 0.3 : 0.9)))
      const id = await ask(world, own, people)
      if (!own.chance(scenario.canceled)) return
      await simulation.sleep(own.between(0, 180_000))
      await cancel(world, id)
    })
  }
  if (scenario.isRestored) simulation.start(async () => await restoreOldBackup(world, people))
  if (scenario.isRequeued) simulation.start(async () => await requeue(world, people))
  for (const machine of world.machines) {
    const own = random.fork(`cuts of ${machine.name}`)
    simulation.start(async () => {
      while (own.chance(0.6)) {
        await simulation.sleep(own.between(0, scenario.chaosMs))
        if (!scenario.faults.areOn) return
        const ms = own.between(20_000, 300_000)
        world.oracle.note(`${machine.name} is cut off for ${Math.round(ms / 1000)} s`)
        machine.cutUntilMs = simulation.nowMs() + ms
      }
    })
  }
  return people
}

async function ask({ simulation, control, scenario, oracle }: World, own: World['random'], people: People) {
  const target = own.pick(scenario.targets)
  const { agent } = own.pick(scenario.machines)
  const input = createJobSchema.parse({
    kind: 'sync',
    source: 'production',
    target,
    agent,
    start_within_seconds: own.integer(300, 1800),
  })
  const { id } = await simulation.busy(async () => await createJob(control.database, input, 'person'))
  people.asked.set(id, { target, agent })
  oracle.note(`${id} is asked for: ${target} by ${agent}`)
  return id
}

async function cancel({ simulation, control, oracle }: World, id: string): Promise<void> {
  try {
    const { state } = await simulation.busy(async () => await cancelJob(control.database, id, 'person'))
    oracle.note(`${id} is asked to stop, and is ${state}`)
  } catch (error) {
    if (!(error instanceof SyncError)) throw error
    oracle.note(`${id} cannot be stopped: ${error.code}`)
  }
}

/** A fence counts the seconds since 2026 for this case. */
async function restoreOldBackup(world: World, people: People): Promise<void> {
  const { simulation, scenario, control, oracle } = world
  const own = world.random.fork('backup')
  await simulation.sleep(own.between(0, scenario.chaosMs * 0.5))
  oracle.note('the control plane is backed up')
  const query = async (sql: string) => await simulation.busy(async () => await control.database.query(sql))
  for (const table of BACKED_UP) {
    await query(`delete from backup.${table}`)
    await query(`insert into backup.${table} select * from multiboard.${table}`)
  }
  await simulation.sleep(own.between(10_000, scenario.chaosMs * 0.5))
  oracle.note('the control plane is put back to its backup')
  for (const table of BACKED_UP.toReversed()) await query(`delete from multiboard.${table}`)
  await query('delete from multiboard.jobs')
  for (const table of BACKED_UP) await query(`insert into multiboard.${table} select * from backup.${table}`)
  const unsure = await simulation.busy(
    async () =>
      await control.database.query<{ id: string }>('select id from multiboard.jobs where finished_at is not null'),
  )
  for (const id of people.asked.keys()) if (!unsure.some((row) => row.id === id)) people.hazy.add(id)
  const fences = await simulation.busy(
    async () =>
      await control.database.query<{ exclusive_key: string; fence: number }>('select * from multiboard.target_fences'),
  )
  oracle.restored(new Map(fences.map(({ exclusive_key, fence }) => [exclusive_key.replace('target:', ''), fence])))
}

/** No part of the product does this; it is what somebody in a hurry does with psql. */
async function requeue(world: World, people: People): Promise<void> {
  const { simulation, scenario, control, oracle } = world
  const own = world.random.fork('requeue')
  while (scenario.faults.areOn) {
    await simulation.sleep(own.between(20_000, 120_000))
    const rows = await simulation.busy(
      async () =>
        await control.database.query<{ id: string }>(
          `update multiboard.jobs set state = 'queued', start_before = now() + interval '30 minutes',
             lease_expires_at = null, lost_at = null, leased_jti = null, leased_boot = null
           where state = 'lost' or state = 'running' and lost_at < now() returning id`,
        ),
    )
    for (const { id } of rows) {
      people.hazy.add(id)
      oracle.note(`${id} is put back into the queue by hand`)
    }
  }
}
