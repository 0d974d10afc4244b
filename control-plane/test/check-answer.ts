import { Ajv2020, type ValidateFunction } from 'ajv/dist/2020.js'
import { fullFormats } from 'ajv-formats/dist/formats.js'
import { makeDocument } from '../../scripts/openapi/make-document.ts'

/** Every answer that a test sees is held against the document of the API: status, content type, body. */

interface Schema {
  [key: string]: unknown
}
interface Described {
  content?: Record<string, { schema?: Schema }>
}
interface Document {
  paths: Record<string, Record<string, { responses: Record<string, Described> }>>
  components: { schemas: Record<string, Schema> }
}

export interface Seen {
  /** Absent: any that the path has. */
  method?: string | undefined
  /** Without its query. */
  path: string
  status: number
  contentType: string | null
  body: string
}

// Of paths and methods that there are not, or that are not looked for before a caller is proven.
const ALWAYS = [400, 401, 403, 404, 405, 413, 415, 429, 500]

const ajv = new Ajv2020({ strict: false, allErrors: true, formats: fullFormats })
const compiled = new Map<string, ValidateFunction>()
let made: Promise<Document> | undefined

/** Throws what differs from the document. */
export async function checkAnswer(seen: Seen): Promise<void> {
  made ??= makeDocument().then((text) => JSON.parse(text, strictly) as Document)
  const document = await made
  const { method, path, status } = seen
  const patterns = Object.keys(document.paths).toSorted((a, b) => Number(a.includes('{')) - Number(b.includes('{')))
  const pattern = patterns.find((known) => matches(known, path)) ?? ''
  const operations = Object.entries(document.paths[pattern] ?? {}).filter(
    ([known]) => method === undefined || known === (method === 'HEAD' ? 'get' : method.toLowerCase()),
  )
  const what = `${method ?? 'A call of'} ${path} answered ${status}`
  if (operations.length === 0) {
    if (!ALWAYS.includes(status)) throw new Error(`${what}, which the document of the API does not know`)
    return checkBody(`${status}`, { $ref: '#/components/schemas/Problem' }, document, seen.body, what)
  }
  const [name, { responses }] = operations.find(([, { responses }]) => responses[status]) ?? operations[0]!
  const response = responses[status]
  if (!response) throw new Error(`${what}: the document knows ${Object.keys(responses).join(', ')}`)
  if (seen.body === '' && !response.content) return
  const type = seen.contentType?.split(';')[0] ?? 'nothing'
  const media = response.content?.[type]
  if (!media) throw new Error(`${what} with ${type}, which the document does not know`)
  if (type.endsWith('json')) checkBody(`${name} ${pattern} ${status}`, media.schema ?? {}, document, seen.body, what)
}

function matches(pattern: string, path: string): boolean {
  const parts = pattern.split('/')
  const given = path.split('/').map(decoded)
  return parts.length === given.length && parts.every((part, n) => part.startsWith('{') || part === given[n])
}

function decoded(part: string): string {
  try {
    return decodeURIComponent(part)
  } catch {
    return part
  }
}

function checkBody(key: string, schema: Schema, { components }: Document, body: string, what: string): void {
  const validate = compiled.get(key) ?? ajv.compile({ ...schema, components })
  compiled.set(key, validate)
  if (validate(JSON.parse(body))) return
  const errors = validate.errors?.map(({ instancePath, message, params }) =>
    [instancePath, message, JSON.stringify(params)].join(' '),
  )
  throw new Error(`${what}, not as the document of the API says:\n${errors?.join('\n')}`)
}

/** Clients take fields that they do not know; tests take none that the document does not name. */
function strictly(_: string, value: unknown): unknown {
  if (typeof value !== 'object' || value === null || !('properties' in value) || !('type' in value)) return value
  const { additionalProperties } = value as Schema
  const isLoose = additionalProperties === undefined || JSON.stringify(additionalProperties) === '{}'
  return value.type === 'object' && isLoose ? { ...value, additionalProperties: false } : value
}
