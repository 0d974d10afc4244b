import { agentIdSchema, archiveIdSchema, jobIdSchema } from '@multiboard-sync/shared/job'
import type { SyncErrorCode } from '@multiboard-sync/shared/sync-error'
import type { MiddlewareHandler } from 'hono'
import { describeRoute, resolver } from 'hono-openapi'
import { z } from 'zod'
import { statusOfCode } from './problem.ts'
import { revalidate } from './revalidate.ts'

/*
 * What the document of the API (openapi.json) says of a route, written beside the route. It does nothing itself but give
 * an answer its ETag: routes parse with read-body.ts, because hono-openapi's own validator sends a body that it refuses
 * back to the caller.
 *
 * Promises: every status that a route answers is named here, or the tests fail that meet it (control-plane/test/check-answer.ts).
 */

interface Answer {
  /** In words: `The job, queued.` */
  what: string
  /** Of a JSON body; absent: no body. A schema with `.meta({ id })` gets its name in the document. */
  schema?: z.ZodType
  /** The answer can be a stream of server-sent events as well: what it sends. */
  stream?: string
  /** The answer is plain text: what it says. */
  text?: string
  /** Response headers that matter to a caller, and what they say. */
  headers?: Record<string, string>
}

export interface Description {
  /** One line: `Asks for a job`. */
  summary: string
  /** More, in whole sentences. */
  description?: string
  /** A heading of the document: `jobs`, `agents`, `people`, `audit`, `agent protocol`, `service`. */
  tag: string
  /** Who may call. `person`: the role stands in people/role-for.ts. `anybody` needs no proof at all. */
  by: 'person' | 'agent' | 'anybody'
  /** Besides the bearer token and the cookie: the query parameter `ticket`. */
  ticket?: true
  /** Parameters of the path, by name. `id` alone can be given by what it is an id of. */
  path?: Record<string, z.ZodType>
  query?: z.ZodObject
  /** Request headers of this route alone, and what they say. */
  headers?: Record<string, string>
  /** The body's schema; what people and agents send, not what it becomes. */
  body?: z.ZodType
  /** The body may be left out. */
  isBodyOptional?: true
  /** Takes the header Idempotency-Key. */
  idempotent?: true
  /** Answers with an ETag, and 304 to If-None-Match. */
  revalidated?: true
  answers: Partial<Record<200 | 201 | 202 | 204, Answer>>
  /** Codes of problems that only this route answers with. Those that follow from the rest are added by themselves. */
  problems?: readonly SyncErrorCode[]
}

type Operation = Parameters<typeof describeRoute>[0]

/** Ids in paths. */
export const pathIds = { job: { id: jobIdSchema }, archive: { id: archiveIdSchema }, agent: { id: agentIdSchema } }

const security: Record<Description['by'], NonNullable<Operation['security']>> = {
  person: [{ token: [] }, { session: [] }],
  agent: [{ agentSignature: [] }],
  anybody: [],
}

/** Whatever the app's: a description looks at nothing. */
type AnyEnv = ReturnType<typeof describeRoute> extends MiddlewareHandler<infer E> ? E : never

/** What `hono/client` asks its callers for. The handler parses it. */
type InputOf<Route extends Description> = { in: BodyOf<Route> & QueryOf<Route> }
type BodyOf<Route extends Description> = Route['body'] extends z.ZodType
  ? Route['isBodyOptional'] extends true
    ? { json?: z.input<Route['body']> }
    : { json: z.input<Route['body']> }
  : object
type QueryOf<Route extends Description> = Route['query'] extends z.ZodObject
  ? { query?: { [Name in keyof z.input<Route['query']>]?: string } }
  : object

/** Goes before a route's handler: `.get('/jobs', describe({ … }), async (c) => …)`. */
export function describe<const Route extends Description>(
  route: Route,
): MiddlewareHandler<AnyEnv, string, InputOf<Route>> {
  const { summary, description, tag } = route
  const described = describeRoute({
    summary,
    ...(description === undefined ? {} : { description }),
    tags: [tag],
    security: [...security[route.by], ...(route.ticket ? [{ ticket: [] }] : [])],
    parameters: parametersOf(route),
    ...(route.body === undefined ? {} : { requestBody: bodyOf(route.body, route.isBodyOptional !== true) }),
    responses: responsesOf(route),
  })
  if (!route.revalidated) return described
  // The description is a property of the middleware.
  return Object.assign<MiddlewareHandler, object>(async (c, next) => {
    await next()
    await revalidate(c)
  }, described)
}

function parametersOf(route: Description): NonNullable<Operation['parameters']> {
  const inPath = Object.entries(route.path ?? {}).map(([name, schema]) => ({
    in: 'path',
    name,
    required: true,
    schema: jsonSchemaOf(schema),
  }))
  const inQuery = Object.entries(route.query?.shape ?? {}).map(([name, schema]) => ({
    in: 'query',
    name,
    schema: jsonSchemaOf(schema),
  }))
  const inHeader = Object.entries(route.headers ?? {}).map(([name, description]) => ({
    in: 'header',
    name,
    description,
    schema: { type: 'string' as const },
  }))
  const named = [...(route.idempotent ? ['IdempotencyKey'] : []), ...(route.revalidated ? ['IfNoneMatch'] : [])]
  return [
    ...inPath,
    ...inQuery,
    ...inHeader,
    ...named.map((name) => ({ $ref: `#/components/parameters/${name}` })),
  ] as NonNullable<Operation['parameters']>
}

function bodyOf(schema: z.ZodType, required: boolean): NonNullable<Operation['requestBody']> {
  const described = resolver(schema, { options: { ...jsonSchemaOptions, io: 'input', metadata: unnamed } })
  return { required, content: { 'application/json': { schema: described } } }
}

function responsesOf(route: Description): NonNullable<Operation['responses']> {
  const answers = Object.entries(route.answers).map(([status, answer]) => [status, responseOf(answer, route)])
  const unchanged = { description: 'What If-None-Match names is still so.' }
  return {
    ...Object.fromEntries(answers),
    ...(route.revalidated ? { 304: unchanged } : {}),
    ...problemResponses(codesOf(route)),
  }
}

function responseOf({ what, schema, stream, text, headers = {} }: Answer, { revalidated }: Description) {
  const told = { ...headers, ...(revalidated && schema ? { ETag: 'For If-None-Match.' } : {}) }
  const content = {
    ...(schema ? { 'application/json': { schema: resolver(schema, { options: jsonSchemaOptions }) } } : {}),
    ...(stream ? { 'text/event-stream': { schema: { type: 'string' as const, description: stream } } } : {}),
    ...(text ? { 'text/plain': { schema: { type: 'string' as const, description: text } } } : {}),
  }
  return {
    description: what,
    ...(Object.keys(told).length === 0 ? {} : { headers: headersOf(told) }),
    ...(Object.keys(content).length === 0 ? {} : { content }),
  }
}

function headersOf(headers: Record<string, string>) {
  const described = (description: string) => ({ description, schema: { type: 'string' as const } })
  return Object.fromEntries(Object.entries(headers).map(([name, description]) => [name, described(description)]))
}

function codesOf(route: Description): readonly SyncErrorCode[] {
  const read = route.body !== undefined || route.by === 'agent'
  return [
    ...(route.problems ?? []),
    ...(route.by === 'anybody' ? [] : (['unauthorized'] as const)),
    ...(route.by === 'person' ? (['forbidden'] as const) : []),
    ...(route.by === 'agent' ? (['agent-revoked'] as const) : []),
    ...(read ? (['malformed-json', 'body-too-large'] as const) : []),
    ...(read && route.by !== 'agent' ? (['unsupported-media-type'] as const) : []),
    ...(read || route.query || route.idempotent || route.headers ? (['invalid-request'] as const) : []),
    ...(route.idempotent ? (['idempotency-conflict', 'idempotency-busy'] as const) : []),
    ...(route.path?.['id'] ? (['not-found'] as const) : []),
    ...(route.by === 'anybody' && !read ? [] : (['rate-limited'] as const)),
    'internal',
  ]
}

/** One response for each status, naming the codes that come with it. */
function problemResponses(codes: readonly SyncErrorCode[]) {
  const byStatus = Object.groupBy(new Set(codes), statusOfCode)
  const responses = Object.entries(byStatus).map(([status, found = []]) => {
    const sorted = found.toSorted()
    const schema = { $ref: '#/components/schemas/Problem', properties: { code: { enum: sorted } } }
    const waits = status === '429' || sorted.includes('idempotency-busy')
    const response = {
      description: sorted.join(', '),
      ...(waits ? { headers: headersOf({ 'Retry-After': 'Seconds to wait.' }) } : {}),
      content: { 'application/problem+json': { schema } },
    }
    return [status, response]
  })
  return Object.fromEntries(responses)
}

/** Bodies stand where they are used: what may be left out of a body is often never absent from an answer of that name. */
const unnamed = z.registry<z.GlobalMeta>()
unnamed.get = (schema) => {
  const { id, ...rest } = z.globalRegistry.get(schema) ?? {}
  return id === 'Json' ? { id, ...rest } : rest
}

/** Replies are loose: a client must not mind fields that a newer control plane adds. */
const jsonSchemaOptions: z.core.ToJSONSchemaParams = {
  io: 'output',
  unrepresentable: 'any',
  override: ({ zodSchema, jsonSchema }) => {
    const { def } = zodSchema._zod
    if (def.type === 'object' && !def.catchall && jsonSchema.additionalProperties === false) {
      delete jsonSchema.additionalProperties
    }
    // What the format says already, in a hundred characters.
    if (jsonSchema.format !== undefined) delete jsonSchema.pattern
    if (jsonSchema.minimum === Number.MIN_SAFE_INTEGER) delete jsonSchema.minimum
    if (jsonSchema.maximum === Number.MAX_SAFE_INTEGER) delete jsonSchema.maximum
    if (def.type === 'record') delete jsonSchema.propertyNames
  },
}

/** Of parameters: what callers send. */
export function jsonSchemaOf(schema: z.ZodType): Record<string, unknown> {
  const { $schema: _, ...described } = z.toJSONSchema(schema, { ...jsonSchemaOptions, io: 'input', metadata: unnamed })
  return described
}
