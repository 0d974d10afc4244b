import {
  closeSync,
  constants,
  existsSync,
  fstatSync,
  ftruncateSync,
  fdatasync,
  mkdirSync,
  openSync,
  readSync,
  writeSync,
} from 'node:fs'
import { readdir, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { agentEventSchema, type AgentEvent, type Level } from '@multiboard-sync/shared/event'
import type { ReportedEvent } from './reporter.ts'

/*
 * The events of one job on the disk, until the control plane has them and the job's end. Promises: numbers (aseq) count
 * from 1 without a gap; what was said in this process is in the file before append returns, so a killed agent loses
 * nothing, and it is on the platter before it is sent, so a number is never given twice. When the control plane is away
 * for so long that 64 MB wait, new debug events are left out, then new info events, and one `events.dropped` record tells
 * how many. Never left out: the job's own events (`job.*`), warnings, errors.
 * Writes are synchronous: events are few and small, they go to the page cache, and their order is then beyond doubt.
 */

const CAP_BYTES = 64 * 1024 * 1024
/** Shares of the cap from which on a level is left out. */
const DROP_FROM: Partial<Record<Level, number>> = { debug: 0.75, info: 0.9 }
const NEWLINE = 0x0a
const dataSync = promisify(fdatasync)

export interface Outbox {
  /** The event's number; undefined when it was left out because the outbox or the disk is full. */
  append(event: ReportedEvent): number | undefined
  /** The next events the control plane does not have, oldest first. */
  unacked(maxEvents: number, maxBytes: number): AgentEvent[]
  /** The control plane has everything up to this number: forward as it takes them, back when it says so. */
  ack(aseq: number): void
  /** Writes the record of what was left out, if anything was. Before the end of a job. */
  noteDropped(): void
  /** Resolves when all that was appended is on the disk. */
  sync(): Promise<void>
  /** Closes and deletes the file: the job's completion was acknowledged. */
  remove(): Promise<void>
  close(): void
  readonly ackedAseq: number
  readonly lastAseq: number
}

export interface OutboxOptions {
  stateDir: string
  job: string
  epoch: number
  capBytes?: number
  now?: () => Date
}

interface Slot {
  aseq: number
  start: number
  end: number
}

/** Opens `<stateDir>/outbox/<job>-<epoch>.jsonl`, with what an earlier process left; all of that counts as not acknowledged. */
export function openOutbox(options: OutboxOptions): Outbox {
  const { capBytes = CAP_BYTES, now = () => new Date() } = options
  const folder = join(options.stateDir, 'outbox')
  mkdirSync(folder, { recursive: true, mode: 0o700 })
  const path = join(folder, `${options.job}-${options.epoch}.jsonl`)
  const file = openSync(path, constants.O_RDWR | constants.O_CREAT, 0o600)
  const slots = reload(file)
  let end = slots.at(-1)?.end ?? 0
  let firstUnacked = 0
  let ackedAseq = 0
  let lastAseq = slots.at(-1)?.aseq ?? 0
  let syncedEnd = 0
  let isOpen = true
  const dropped = { debug: 0, info: 0, unwritten: 0 }

  const waitingBytes = (): number => end - (slots[firstUnacked]?.start ?? end)
  const write = (event: ReportedEvent): number => {
    const numbered = agentEventSchema.parse({ aseq: lastAseq + 1, ...event })
    const line = Buffer.from(`${JSON.stringify(numbered)}\n`)
    for (let done = 0; done < line.length;) done += writeSync(file, line, done, line.length - done, end + done)
    slots.push({ aseq: numbered.aseq, start: end, end: end + line.length })
    end += line.length
    lastAseq = numbered.aseq
    return lastAseq
  }
  // A disk that takes no more events must not end the job that tells them; the record says that some are missing.
  const tryWrite = (event: ReportedEvent): number | undefined => {
    try {
      return write(event)
    } catch (error) {
      if (!(error instanceof Error && 'syscall' in error)) throw error
      return undefined
    }
  }
  const noteDropped = (): void => {
    if (dropped.debug + dropped.info + dropped.unwritten === 0) return
    const data = { ...dropped }
    if (tryWrite({ type: 'events.dropped', level: 'warning', at: now().toISOString(), data }) === undefined) return
    Object.assign(dropped, { debug: 0, info: 0, unwritten: 0 })
  }
  const close = (): void => {
    if (isOpen) closeSync(file)
    isOpen = false
  }
  return {
    append: (event) => {
      const share = waitingBytes() / capBytes
      const { level } = event
      if (
        (level === 'debug' || level === 'info') &&
        !event.type.startsWith('job.') &&
        share >= (DROP_FROM[level] ?? 1)
      ) {
        dropped[level] += 1
        return undefined
      }
      // One record for the whole time, not one before each event that was kept meanwhile.
      if (share < (DROP_FROM.debug ?? 1)) noteDropped()
      const aseq = tryWrite(event)
      if (aseq === undefined) dropped.unwritten += 1
      return aseq
    },
    unacked: (maxEvents, maxBytes) => {
      const batch = slots.slice(firstUnacked, firstUnacked + maxEvents)
      const startAt = batch[0]?.start ?? end
      return batch.filter((slot) => slot.end - startAt <= maxBytes).map((slot) => read(file, slot))
    },
    ack: (aseq) => {
      ackedAseq = aseq
      lastAseq = Math.max(lastAseq, aseq)
      const index = slots.findIndex((slot) => slot.aseq > aseq)
      firstUnacked = index === -1 ? slots.length : index
    },
    noteDropped,
    sync: async () => {
      const upTo = end
      if (upTo === syncedEnd || !isOpen) return
      await dataSync(file)
      syncedEnd = upTo
    },
    remove: async () => {
      close()
      await rm(path, { force: true })
    },
    close,
    get ackedAseq() {
      return ackedAseq
    },
    get lastAseq() {
      return lastAseq
    },
  }
}

/** Where the events lie in the file. What a crash left half written at the end is cut off: it was never sent. */
function reload(file: number): Slot[] {
  const bytes = Buffer.alloc(fstatSync(file).size)
  for (let done = 0; done < bytes.length;) {
    const count = readSync(file, bytes, done, bytes.length - done, done)
    if (count === 0) break
    done += count
  }
  const slots: Slot[] = []
  for (let start = 0; start < bytes.length;) {
    const newline = bytes.indexOf(NEWLINE, start)
    const event = newline === -1 ? undefined : parseEvent(bytes.subarray(start, newline))
    if (!event || event.aseq <= (slots.at(-1)?.aseq ?? 0)) {
      ftruncateSync(file, start)
      break
    }
    slots.push({ aseq: event.aseq, start, end: newline + 1 })
    start = newline + 1
  }
  return slots
}

function read(file: number, { start, end }: Slot): AgentEvent {
  const line = Buffer.alloc(end - start)
  readSync(file, line, 0, line.length, start)
  return agentEventSchema.parse(JSON.parse(line.toString('utf8')))
}

function parseEvent(line: Buffer): AgentEvent | undefined {
  try {
    return agentEventSchema.parse(JSON.parse(line.toString('utf8')))
  } catch {
    return undefined
  }
}

/** The outboxes on the disk: jobs whose end the control plane has not acknowledged. */
export async function listOutboxes(stateDir: string): Promise<{ job: string; epoch: number }[]> {
  const folder = join(stateDir, 'outbox')
  if (!existsSync(folder)) return []
  const names = await readdir(folder)
  return names.flatMap((name) => {
    const match = /^(j[0-9a-z]{12})-(\d+)\.jsonl$/.exec(name)
    return match?.[1] && match[2] ? [{ job: match[1], epoch: Number(match[2]) }] : []
  })
}
