import { setTimeout as sleep } from 'node:timers/promises'

import { jobEventSchema, progressSchema, type JobEvent, type Progress } from '../../shared/src/event.ts'
import { jobViewSchema, type JobView } from '../../shared/src/protocol.ts'
import { problemOf, type Api } from './call-api.ts'

export interface JobWatcher {
  event(event: JobEvent): void
  progress(progress: Progress): void
}

interface Frame {
  name: string
  id: string
  data: string
}

/** As the stream itself asks for with `retry`. */
const reconnectMs = 2000

/**
 * Follows a job's Server-Sent Events until it has ended, and answers the job. A stream that ends before the job does is
 * opened again from the last event seen. Throws when the job's agent was lost.
 */
export async function followJob(api: Api, job: string, watcher: JobWatcher, signal: AbortSignal): Promise<JobView> {
  let lastEventId = ''
  for (;;) {
    const response = await fetch(`${api.url}/v1/jobs/${job}/events`, {
      headers: {
        authorization: `Bearer ${api.adminToken}`,
        accept: 'text/event-stream',
        ...(lastEventId === '' ? {} : { 'last-event-id': lastEventId }),
      },
      signal,
    })
    if (!response.ok || response.body === null) throw await problemOf(response)
    for await (const { name, id, data } of readFrames(response.body)) {
      if (id !== '') lastEventId = id
      const value: unknown = JSON.parse(data)
      if (name === 'event') watcher.event(jobEventSchema.parse(value))
      if (name === 'progress') watcher.progress(progressSchema.parse(value))
      if (name !== 'job' && name !== 'end') continue
      const view = jobViewSchema.parse(value)
      if (name === 'end' || view.state === 'lost') return view
    }
    await sleep(reconnectMs, undefined, { signal })
  }
}

/** The frames of a text/event-stream (WHATWG HTML, "Server-sent events"), as far as our server writes them. */
async function* readFrames(body: ReadableStream<Uint8Array>): AsyncGenerator<Frame> {
  let rest = ''
  const decoder = new TextDecoder()
  for await (const bytes of body) {
    const blocks = `${rest}${decoder.decode(bytes, { stream: true })}`.split('\n\n')
    rest = blocks.pop() ?? ''
    for (const block of blocks) {
      const fields = new Map(block.split('\n').map((line) => [line.split(':')[0] ?? '', line.replace(/^[^:]*: ?/, '')]))
      const data = fields.get('data')
      if (data !== undefined) yield { name: fields.get('event') ?? 'message', id: fields.get('id') ?? '', data }
    }
  }
}
