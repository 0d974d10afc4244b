import { randomUUID } from 'node:crypto'

import type { ControlPlane as AgentsControlPlane } from '../../agent/src/poll/control-plane-client.ts'
import { poll } from '../../control-plane/src/agents/poll.ts'
import { acceptJob } from '../../control-plane/src/jobs/accept-job.ts'
import { completeJob } from '../../control-plane/src/jobs/complete-job.ts'
import { reportJob } from '../../control-plane/src/jobs/report-job.ts'
import { orderSchema } from '../../shared/src/order.ts'
import {
  acceptReplySchema,
  acceptRequestSchema,
  completeReplySchema,
  completeRequestSchema,
  pollReplySchema,
  reportReplySchema,
  reportRequestSchema,
} from '../../shared/src/protocol.ts'
import type { Machine } from './machine.ts'
import { callOver } from './network.ts'
import type { Held } from './oracle.ts'
import type { World } from './world.ts'

/** The control plane as an agent's code sees it: its real functions, at the other end of the network. */
export function connectAgent(world: World, machine: Machine, held?: Held): AgentsControlPlane {
  const { control, oracle, saboteur } = world
  const { agent } = machine
  const took = (what: 'accept' | 'report' | 'complete', job: string, epoch: number, renewed: boolean): void => {
    if (held?.job !== job || held.epoch !== epoch) return
    oracle.answered(what, held, { epoch: saboteur.locked.epoch ?? 0, renewed })
  }
  return {
    poll: async (body) => {
      const jti = randomUUID()
      return await callOver(world, machine, {
        what: 'poll',
        schema: pollReplySchema,
        serve: async () => {
          const reply = await poll(control, { id: agent, jti }, body)
          if (reply.order !== undefined) noteClaim(world, reply.order)
          return { status: 200, body: reply }
        },
      })
    },
    accept: async (job, body) =>
      await callOver(world, machine, {
        what: `accept ${job}`,
        schema: acceptReplySchema,
        serve: async () => {
          const request = acceptRequestSchema.parse(body)
          saboteur.claimed(request.epoch)
          const reply = await acceptJob(control, agent, job, request)
          if (request.verdict === 'accepted') took('accept', job, request.epoch, true)
          return { status: 200, body: reply }
        },
      }),
    report: async (job, body) =>
      await callOver(world, machine, {
        what: `report ${job} (${body.phase})`,
        schema: reportReplySchema,
        serve: async () => {
          const request = reportRequestSchema.parse(body)
          saboteur.claimed(request.epoch)
          const reply = await reportJob(control, agent, job, request)
          took('report', job, request.epoch, true)
          return { status: 200, body: reply }
        },
      }),
    complete: async (job, body) =>
      await callOver(world, machine, {
        what: `complete ${job} (${body.result.outcome})`,
        schema: completeReplySchema,
        serve: async () => {
          const request = completeRequestSchema.parse(body)
          saboteur.claimed(request.epoch)
          const { status, reply } = await completeJob(control, agent, job, request)
          // The same end told again changes nothing, also after the target was given on.
          if (!saboteur.locked.finished_at) took('complete', job, request.epoch, status === 202)
          return { status, body: reply }
        },
      }),
    archives: async () => {
      throw new Error('no archives in a history')
    },
  }
}

function noteClaim({ oracle }: World, token: string): void {
  const { job, params } = openPlainOrder(token)
  if ('target' in params) oracle.claimed({ job: job.id, epoch: job.epoch, fence: job.fence, target: params.target })
}

/** Orders of a history are not signed: who may give one is proven elsewhere. */
export function openPlainOrder(token: string) {
  return orderSchema.parse(JSON.parse(token))
}
