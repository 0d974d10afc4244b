import type { Phase } from '@multiboard-sync/shared/job'
import type { AgentWatch } from './agent-watch.ts'
import type { Heartbeat } from './heartbeat.ts'

/** What the daemon does, in memory: what the sign of life, the listener and the metrics tell. */
export interface AgentStatus extends AgentWatch {
  read(): Heartbeat
}

export function createStatus(
  who: { agent: string; version: string; bootId: string },
  now: () => Date = () => new Date(),
): AgentStatus {
  const startedAt = now()
  let turnedAt = startedAt
  let answeredAt: Date | undefined
  let doing: Heartbeat['doing'] = 'settling'
  let failedWith: string | null = null
  let isDraining = false
  let job:
    | { id: string; kind: NonNullable<Heartbeat['job']>['kind']; phase: Phase; beganAt: Date; movedAt: Date }
    | undefined

  return {
    settling: () => {
      doing = 'settling'
    },
    polled: () => {
      doing = 'polling'
      turnedAt = answeredAt = now()
      failedWith = null
    },
    failed: (code) => {
      turnedAt = now()
      failedWith = code
    },
    orderRefused: () => undefined,
    draining: () => {
      isDraining = true
    },
    jobBegan: ({ id, params: { kind } }) => {
      const beganAt = now()
      const current = { id, kind, phase: 'preflight' as Phase, beganAt, movedAt: beganAt }
      job = current
      doing = 'job'
      const moved = (): void => {
        current.movedAt = now()
      }
      const sink = {
        phase: (phase: Phase) => {
          current.phase = phase
          moved()
        },
        event: moved,
        progress: moved,
      }
      return {
        sinks: [sink],
        ended: () => {
          job = undefined
          doing = 'polling'
          turnedAt = now()
        },
      }
    },
    read: () => ({
      at: now().toISOString(),
      pid: process.pid,
      agent: who.agent,
      version: who.version,
      boot_id: who.bootId,
      started_at: startedAt.toISOString(),
      doing,
      turned_at: turnedAt.toISOString(),
      last_poll_ok_at: answeredAt?.toISOString() ?? null,
      failed_with: failedWith,
      draining: isDraining,
      ...(job
        ? {
            job: {
              id: job.id,
              kind: job.kind,
              phase: job.phase,
              began_at: job.beganAt.toISOString(),
              moved_at: job.movedAt.toISOString(),
            },
          }
        : {}),
    }),
  }
}
