import { agentEventSchema } from '../../shared/src/event.ts'
import type { Outbox } from '../../agent/src/report/outbox.ts'
import type { Disk } from './machine.ts'

/** The outbox on a disk that is a part of memory. What an earlier process left counts as not acknowledged. */
export function openMemoryOutbox(disk: Disk, job: string, epoch: number): Outbox {
  const key = `${job}-${epoch}`
  const file = disk.outboxes.get(key) ?? { job, epoch, events: [] }
  disk.outboxes.set(key, file)
  const { events } = file
  let ackedAseq = 0
  return {
    append: (event) => {
      events.push(agentEventSchema.parse({ aseq: events.length + 1, ...event }))
      return events.length
    },
    unacked: (maxEvents) => events.slice(ackedAseq, ackedAseq + maxEvents),
    ack: (aseq) => void (ackedAseq = Math.min(aseq, events.length)),
    noteDropped: () => undefined,
    sync: async () => undefined,
    remove: async () => void disk.outboxes.delete(key),
    close: () => undefined,
    get ackedAseq() {
      return ackedAseq
    },
    get lastAseq() {
      return events.length
    },
  }
}
