import type { Context } from 'hono'
import { createMiddleware } from 'hono/factory'
import type { AgentEnv } from '../agents/require-agent.ts'
import type { ControlPlane } from '../control-plane.ts'
import type { PersonEnv } from '../people/person.ts'
import { clientAddress } from './client-address.ts'
import { limitRate } from './limit-rate.ts'

/** After requirePerson. */
export function limitPeople({ database, limits }: ControlPlane) {
  return createMiddleware<PersonEnv>(async function limitPerson(c, next) {
    await limitRate(database, `person:${c.get('person').name}`, limits.person)
    await next()
  })
}

/**
 * After requireAgent. A poll counts itself, in its one statement. What an agent says of its jobs is counted apart: a
 * second daemon of that name, which polls without end, must not cost a job its lease.
 */
export function limitAgents({ database, limits }: ControlPlane) {
  return createMiddleware<AgentEnv>(async function limitAgent(c, next) {
    const { id } = c.get('agent')
    const { path } = c.req
    if (path.startsWith('/v1/agent/jobs/')) await limitRate(database, `agent-jobs:${id}`, limits.agent)
    else if (path !== '/v1/agent/poll') await limitRate(database, agentKey(id), limits.agent)
    await next()
  })
}

export function agentKey(id: string): string {
  return `agent:${id}`
}

/** Before what anybody may call. */
export function limitStrangers(control: ControlPlane) {
  return createMiddleware(async function limitStranger(c, next) {
    await countStranger(control, c)
    await next()
  })
}

/**
 * Around what needs a proof: calls without a good one, and those that their caller may not make, are counted by address,
 * and soon told to wait. Whose call is good is not held up by a neighbour behind the same address.
 */
export function limitUnproven(control: ControlPlane) {
  return createMiddleware(async function limitUnprovenCaller(c, next) {
    await next()
    if (c.res.status === 401 || c.res.status === 403) await countStranger(control, c)
  })
}

async function countStranger({ addressHeader, database, limits }: ControlPlane, c: Context): Promise<void> {
  await limitRate(database, `address:${clientAddress(c, addressHeader)}`, limits.stranger)
}
