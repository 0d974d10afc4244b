import type { MessagePort } from 'node:worker_threads'
import type { ServerErrorFields } from './protocol-frames.ts'

/** What main thread and worker of a dump say to each other. */

export interface DumpInput {
  /** Bytes for the server one way, ToWorker the other. */
  port: MessagePort
  /** Counted up and notified with each message to the worker, which sleeps on it. */
  wake: Int32Array
  parameters: Record<string, string>
  args: string[]
}

export type ToWorker = { data: Uint8Array } | { lost: true }

export type DumpAnswer =
  | { kind: 'dumped'; sql: string }
  /** The database's own text holds a line that psql would obey and pgDump() deletes. */
  | { kind: 'restricted' }
  /** `server` is the last error that the server reported, if it did. */
  | { kind: 'failed'; text: string; server: ServerErrorFields | undefined }
