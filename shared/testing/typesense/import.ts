import { isUtf8 } from 'node:buffer'
import { Refusal, TEXT_TYPE, type Answer, type Call } from './answer.ts'
import { checkDocument } from './check-document.ts'
import { requireCollection } from './collections.ts'
import { BadJson, parseJson, writeJson, type JsonObject } from './json-text.ts'
import { LineFault } from './line-fault.ts'
import { mergeDocument } from './merge-document.ts'
import type { State, StoredCollection } from './state.ts'

const ACTIONS = ['create', 'upsert', 'update', 'emplace'] as const
export type Action = (typeof ACTIONS)[number]
const NEWLINE = 10
/** What U+FFFD itself is in UTF-8, a byte a character. */
const REPLACEMENT = '\u00ef\u00bf\u00bd'
const SUCCESS = '{"success":true}'

/** What is wrong with the request as a whole; nothing is applied then. */
export function checkImport(state: State, call: Call): { collection: StoredCollection; action: Action } {
  const action = ACTIONS.find((known) => known === (call.query.get('action') ?? 'create'))
  if (!action) throw new Refusal(400, 'Parameter `action` must be a create|update|upsert.')
  for (const name of ['return_doc', 'return_id']) {
    const told = call.query.get(name)
    if (told !== null && !/^(true|false)$/.test(told))
      throw new Refusal(400, `Parameter \`${name}\` must be a true|false.`)
  }
  const batchSize = call.query.get('batch_size')
  if (batchSize !== null && !/^[1-9]\d*$/.test(batchSize)) {
    throw new Refusal(400, 'Parameter `batch_size` must be a positive integer.')
  }
  return { collection: requireCollection(state, call.segments[1] ?? ''), action }
}

/** One answer a line that is not blank, in order: 200, whatever became of them. */
export function importDocuments(state: State, call: Call): Answer {
  const { collection, action } = checkImport(state, call)
  const body = call.body
  if (!state.keepDocuments) return countLines(collection, body)
  const tells = { id: call.query.get('return_id') === 'true', document: call.query.get('return_doc') === 'true' }
  const answers: string[] = []
  for (const line of linesOf(body)) answers.push(importLine(collection, line, action, tells))
  return { status: 200, contentType: TEXT_TYPE, body: answers.join('\n') }
}

export function* linesOf(body: Buffer): Generator<Buffer> {
  let start = 0
  while (start < body.length) {
    const newline = body.indexOf(NEWLINE, start)
    const next = newline === -1 ? body.length : newline
    const end = next > start && body[next - 1] === 13 ? next - 1 : next
    if (end > start) yield body.subarray(start, end)
    start = next + 1
  }
}

function countLines(collection: StoredCollection, body: Buffer): Answer {
  let lines = 0
  for (const _line of linesOf(body)) lines += 1
  const documents = collection.documents as { add?(documents: number): void }
  documents.add?.(lines)
  const reply = Buffer.alloc(Math.max(0, lines * (SUCCESS.length + 1) - 1), `${SUCCESS}\n`)
  return { status: 200, contentType: TEXT_TYPE, body: reply }
}

function importLine(
  collection: StoredCollection,
  line: Buffer,
  action: Action,
  tells: { id: boolean; document: boolean },
): string {
  let document: JsonObject | undefined
  try {
    document = readDocument(line)
    const id = readId(collection, document, action)
    const stored = writeDocument(collection, document, id, action)
    if (!tells.id && !tells.document) return SUCCESS
    return writeJson({
      success: true,
      ...(tells.id && { id }),
      ...(tells.document && { document: parseJson(stored) }),
    })
  } catch (error) {
    if (!(error instanceof LineFault)) throw error
    return writeJson({
      code: error.code,
      error: error.message,
      success: false,
      ...(tells.id && { id: document?.get('id') }),
      ...(tells.document && { document: line.toString() }),
    })
  }
}

export function readDocument(line: Buffer): JsonObject {
  try {
    const document = parseJson(decode(line))
    if (document instanceof Map) return document
  } catch (error) {
    if (error instanceof BadJson) throw new LineFault(400, `Bad JSON: ${error.message}`)
    throw error
  }
  throw new LineFault(400, 'Bad JSON: not a properly formed document.')
}

/** Bytes that are no UTF-8 are left out without a word. */
function decode(line: Buffer): string {
  if (isUtf8(line)) return line.toString()
  const pieces = line.toString('latin1').split(REPLACEMENT)
  return pieces.map((piece) => Buffer.from(piece, 'latin1').toString().replaceAll('\uFFFD', '')).join('\uFFFD')
}

/** A document without an id gets one, so that sending it again doubles it. */
export function readId(collection: StoredCollection, document: JsonObject, action: Action): string {
  const told = document.get('id')
  if (told === undefined) {
    if (action === 'update') throw new LineFault(400, 'For update, the `id` key must be provided.')
    let id = String(collection.nextId++)
    while (collection.documents.has(id)) id = String(collection.nextId++)
    document.set('id', id)
    return id
  }
  if (typeof told !== 'string') throw new LineFault(400, "Document's `id` field should be a string.")
  if (told === '') throw new LineFault(400, 'The `id` should not be empty.')
  return told
}

export function writeDocument(collection: StoredCollection, document: JsonObject, id: string, action: Action): string {
  const held = collection.documents.get(id)
  if (action === 'create' && held !== undefined) throw new LineFault(409, `A document with id ${id} already exists.`)
  if (action === 'update' && held === undefined) throw new LineFault(404, `Could not find a document with id: ${id}`)
  const merges = held !== undefined && (action === 'update' || action === 'emplace')
  checkDocument(collection, document, { partial: merges, isNew: held === undefined })
  const before = held === undefined ? undefined : parseJson(held)
  const whole = before instanceof Map ? mergeDocument(before, document, merges ? 'merge' : 'upsert') : document
  const text = writeJson(withoutUnstored(collection, whole))
  collection.documents.set(id, Buffer.from(text))
  if (held === undefined) collection.nextId += 1
  return text
}

function withoutUnstored({ fields }: StoredCollection, document: JsonObject): JsonObject {
  const unstored = fields.filter(({ store }) => !store)
  for (const { name } of unstored) document.delete(name)
  return document
}
