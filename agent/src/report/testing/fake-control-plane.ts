import type { AgentEvent } from '@multiboard-sync/shared/event'
import type { CompleteRequest, ReportRequest } from '@multiboard-sync/shared/protocol'
import type { ControlPlane } from '../../poll/control-plane-client.ts'
import { ControlPlaneError, unreachable } from '../../poll/control-plane-error.ts'
import type { Clock } from '../clock.ts'

/** What happens to one request on its way. `late-twin`: it arrives now, and once more just before the next one. */
export type Fault = 'none' | 'request-lost' | 'answer-lost' | 'late-twin' | 'slow'

export interface FakeControlPlane extends ControlPlane {
  readonly events: AgentEvent[]
  readonly reports: { atMs: number; body: ReportRequest }[]
  readonly completions: CompleteRequest[]
  isDown: boolean
  cancel: boolean
  /** Thrown by the next reports instead of an answer. */
  refuseWith: ControlPlaneError | undefined
  nextFault: () => Fault
  leaseMs: number
  renewAfterMs: number | undefined
}

/** Keeps a job's events as the protocol demands: contiguous numbers, each once, a gap is refused with what it has. */
export function createFakeControlPlane(clock: Clock): FakeControlPlane {
  let lateTwin: (() => void) | undefined
  const notUsed = async (): Promise<never> => await Promise.reject(new Error('not part of this fake'))
  const store = (events: AgentEvent[]): number => {
    for (const event of events) {
      const expected = plane.events.length + 1
      if (event.aseq > expected) throw new ControlPlaneError('event-gap', 'gap', { ackAseq: expected - 1, status: 416 })
      if (event.aseq === expected) plane.events.push(event)
    }
    return plane.events.length
  }
  const travel = async <T>(signal: AbortSignal, arrive: () => T): Promise<T> => {
    signal.throwIfAborted()
    if (plane.isDown) throw unreachable('down')
    const fault = plane.nextFault()
    if (fault === 'request-lost') throw unreachable('lost')
    if (fault === 'slow') await clock.sleep(3000, signal)
    lateTwin?.()
    lateTwin = undefined
    if (plane.refuseWith) throw plane.refuseWith
    const answer = arrive()
    if (fault === 'late-twin') lateTwin = () => void arrive()
    if (fault === 'answer-lost') throw unreachable('lost')
    return answer
  }
  const plane: FakeControlPlane = {
    events: [],
    reports: [],
    completions: [],
    isDown: false,
    cancel: false,
    refuseWith: undefined,
    nextFault: () => 'none',
    leaseMs: 90_000,
    renewAfterMs: undefined,
    poll: notUsed,
    accept: notUsed,
    archives: notUsed,
    report: async (_job, body, signal) =>
      await travel(signal, () => {
        plane.reports.push({ atMs: clock.monotonicMs(), body })
        const ack_aseq = store(body.events)
        const renew = plane.renewAfterMs === undefined ? {} : { renew_after_ms: plane.renewAfterMs }
        const reply = { lease_ms: plane.leaseMs, cancel: plane.cancel, ack_aseq, next_batch_ms: 2000, ...renew }
        return { reply, status: 200, serverDate: undefined }
      }),
    complete: async (_job, body, signal) =>
      await travel(signal, () => {
        plane.completions.push(body)
        const ack_aseq = plane.events.length
        const isDone = ack_aseq >= body.last_aseq
        const reply = { state: isDone ? body.result.outcome : 'running', ack_aseq }
        return { reply, status: isDone ? 200 : 202, serverDate: undefined }
      }),
  }
  return plane
}
