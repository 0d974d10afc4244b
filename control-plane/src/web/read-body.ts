import { BODY_MAX_BYTES } from '@multiboard-sync/shared/protocol'
import { SyncError } from '@multiboard-sync/shared/sync-error'
import type { z } from 'zod'
import { ProblemError } from './problem.ts'

const MAX_LISTED_ERRORS = 20
// Ours nest 6 levels at most. Parsers and PostgreSQL recurse, so depth costs stack.
const MAX_DEPTH = 64

/** The body as text. Throws `body-too-large` before or while reading, never after holding more than the limit. */
export async function readBody(request: Request, maxBytes: number = BODY_MAX_BYTES): Promise<string> {
  if (Number(request.headers.get('content-length') ?? 0) > maxBytes) throw tooLarge(maxBytes)
  if (!request.body) return ''
  const chunks: Uint8Array[] = []
  let bytes = 0
  for await (const chunk of request.body as ReadableStream<Uint8Array>) {
    bytes += chunk.byteLength
    if (bytes > maxBytes) throw tooLarge(maxBytes)
    chunks.push(chunk)
  }
  return Buffer.concat(chunks).toString('utf8')
}

/**
 * The body's JSON, parsed. Throws `malformed-json` and `invalid-request`; neither says what was sent.
 * PostgreSQL can store neither U+0000 nor half a surrogate pair: a person is told so, in an agent's report they become
 * U+FFFD, because a report that can never be accepted would block all that come after it.
 */
export function parseBody<Schema extends z.ZodType>(
  schema: Schema,
  text: string,
  from: 'person' | 'agent',
): z.output<Schema> {
  const parsed = schema.safeParse(parseJson(text, from))
  if (parsed.success) return parsed.data
  throw invalidRequest(parsed.error)
}

/** Query parameters and headers, parsed like a body. */
export function parseInput<Schema extends z.ZodType>(schema: Schema, input: unknown): z.output<Schema> {
  const parsed = schema.safeParse(input)
  if (parsed.success) return parsed.data
  throw invalidRequest(parsed.error)
}

function parseJson(text: string, from: 'person' | 'agent'): unknown {
  let json: unknown
  try {
    json = JSON.parse(text)
  } catch (cause) {
    throw new SyncError('malformed-json', 'The body is not JSON.', { hint: 'Send one JSON object, in UTF-8.', cause })
  }
  return storable(json, from, 0)
}

function storable(value: unknown, from: 'person' | 'agent', depth: number): unknown {
  if (depth > MAX_DEPTH) throw unstorable(`nested deeper than ${MAX_DEPTH} levels`)
  if (typeof value === 'string') return storableText(value, from)
  if (typeof value !== 'object' || value === null) return value
  if (Array.isArray(value)) return value.map((inner) => storable(inner, from, depth + 1))
  const entries = Object.entries(value)
  return Object.fromEntries(entries.map(([key, inner]) => [storableText(key, from), storable(inner, from, depth + 1)]))
}

function storableText(text: string, from: 'person' | 'agent'): string {
  if (!text.includes('\0') && text.isWellFormed()) return text
  if (from === 'agent') return text.toWellFormed().replaceAll('\0', '\uFFFD')
  throw unstorable('text must not contain U+0000 or half a surrogate pair')
}

function unstorable(message: string): ProblemError {
  return new ProblemError('invalid-request', 'The request is not valid.', { errors: [{ field: '', message }] })
}

function invalidRequest(error: z.ZodError): ProblemError {
  const errors = error.issues.slice(0, MAX_LISTED_ERRORS).map(({ path, message }) => ({
    field: path.join('.').slice(0, 200),
    message: message.slice(0, 200),
  }))
  const hint = 'Correct the fields listed in errors.'
  return new ProblemError('invalid-request', 'The request is not valid.', { errors, hint })
}

function tooLarge(maxBytes: number): SyncError {
  return new SyncError('body-too-large', `The body is larger than ${maxBytes} bytes.`, {
    hint: 'Send less at a time.',
  })
}
