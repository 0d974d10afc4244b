import { adminToken } from './surroundings.ts'

export interface Frame {
  event?: string
  id?: string
  retry?: string
  data?: unknown
  comment?: string
}

/** A stream did not give what a test waits for. */
const STREAM_TIMEOUT_MS = 30_000

export async function openStream(url: string, headers: Record<string, string> = {}, signal?: AbortSignal) {
  const deadline = AbortSignal.timeout(STREAM_TIMEOUT_MS)
  return await fetch(url, {
    headers: { authorization: `Bearer ${adminToken}`, accept: 'text/event-stream', ...headers },
    signal: signal ? AbortSignal.any([signal, deadline]) : deadline,
  })
}

/** The frames of a stream until it ends or breaks; what of a frame was cut off is dropped, as EventSource does. */
export async function* framesOf(response: Response): AsyncGenerator<Frame> {
  let text = ''
  for await (const bytes of response.body as ReadableStream<Uint8Array>) {
    text += Buffer.from(bytes).toString('utf8')
    const whole = text.split('\n\n')
    text = whole.pop() ?? ''
    for (const frame of whole) yield parseFrame(frame)
  }
}

function parseFrame(text: string): Frame {
  const frame: Frame = {}
  for (const line of text.split('\n')) {
    const colon = line.indexOf(':')
    const name = line.slice(0, colon)
    const value = line.slice(colon + 1).trimStart()
    if (name === '') frame.comment = value
    if (name === 'event' || name === 'id' || name === 'retry') frame[name] = value
    if (name === 'data') frame.data = JSON.parse(value)
  }
  return frame
}

/** All frames of one connection. */
export async function allFrames(response: Response): Promise<Frame[]> {
  const frames: Frame[] = []
  for await (const frame of framesOf(response)) frames.push(frame)
  return frames
}
