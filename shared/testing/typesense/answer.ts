import { writeJson } from './json-text.ts'

/** A request, whole: nothing of it happens before its last byte is here. */
export interface Call {
  method: string
  /** Of the path, decoded. */
  segments: string[]
  path: string
  query: URLSearchParams
  apiKey: string | undefined
  body: Buffer
}

export interface Answer {
  status: number
  contentType: string
  body: string | Buffer | Iterable<Buffer>
}

export const JSON_TYPE = 'application/json; charset=utf-8'
export const TEXT_TYPE = 'text/plain; charset=utf-8'

/** An answer with a message, as the server writes nearly all of its errors. */
export class Refusal extends Error {
  readonly status: number
  constructor(status: number, message: string) {
    super(message)
    this.status = status
  }
}

export function answerJson(value: unknown, status = 200, contentType = JSON_TYPE): Answer {
  return { status, contentType, body: writeJson(value) }
}

export function answerMessage(status: number, message: string, contentType = JSON_TYPE): Answer {
  return { status, contentType, body: `{"message": ${JSON.stringify(message)}}` }
}

export const NOT_FOUND: Answer = { status: 404, contentType: JSON_TYPE, body: '{ "message": "Not Found"}' }

export function wholeBody({ body }: Answer): Buffer {
  if (typeof body === 'string') return Buffer.from(body)
  return Buffer.isBuffer(body) ? body : Buffer.concat([...body])
}

/** The body as an object. Throws the refusal of text that is no JSON. */
export function readBody(call: Call): Record<string, unknown> {
  try {
    const body: unknown = JSON.parse(call.body.toString())
    if (isRecord(body)) return body
  } catch {
    // Told below.
  }
  throw new Refusal(400, 'Bad JSON.')
}

export function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

export function stringsOf(value: unknown): string[] {
  return Array.isArray(value) ? value.filter((item) => typeof item === 'string') : []
}
