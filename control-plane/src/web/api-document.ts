import { problemSchema } from '@multiboard-sync/shared/protocol'
import type { Hono } from 'hono'
import { generateSpecs } from 'hono-openapi'
import { roleFor } from '../people/role-for.ts'
import { jsonSchemaOf } from './describe.ts'

type Json = null | boolean | number | string | Json[] | { [key: string]: Json }

/**
 * The OpenAPI 3.1 document of an app's routes, the same for the same routes: keys are sorted, nothing in it depends on
 * the machine. Committed as control-plane/openapi.json, and served from there.
 */
export async function documentApi(app: Pick<Hono, 'routes'>): Promise<Json> {
  const generated = await generateSpecs(app as Hono, {
    documentation: {
      openapi: '3.1.0',
      info: { title: 'Multiboard Sync', version: '1', description: about, license: { name: 'MIT', identifier: 'MIT' } },
      servers: [{ url: '/' }],
      tags: Object.entries(tags).map(([name, description]) => ({ name, description })),
      components: { schemas: { Problem: jsonSchemaOf(problemSchema) }, parameters, securitySchemes },
    },
    defaultValidationErrorResponse: false,
    excludeStaticFile: false,
  })
  return sortKeys(withRoles(JSON.parse(JSON.stringify(generated)) as Generated))
}

interface Generated {
  [key: string]: Json
  paths: Record<string, Record<string, { description?: string; security?: Json[] }>>
}

/** Roles stand in one table; the document repeats them where they are looked for. */
function withRoles(document: Generated): Generated {
  for (const [path, methods] of Object.entries(document.paths)) {
    for (const [method, operation] of Object.entries(methods)) {
      const isOfPeople = operation.security?.some((way) => JSON.stringify(way).includes('"token"'))
      if (!isOfPeople) continue
      const role = roleFor(method.toUpperCase(), path)
      operation.description = [`Role: ${role}.`, operation.description].filter(Boolean).join(' ')
    }
  }
  return document
}

function sortKeys(value: Json): Json {
  if (Array.isArray(value)) return value.map(sortKeys)
  if (typeof value !== 'object' || value === null) return value
  const entries = Object.entries(value).toSorted(([a], [b]) => (a < b ? -1 : 1))
  return Object.fromEntries(entries.map(([key, inner]) => [key, sortKeys(inner)]))
}

const about = `People ask for jobs; agents fetch them as signed orders and report. See docs/PROTOCOL.md.

Every error is an RFC 9457 problem with \`code\`, \`hint\` and \`retryable\`. What is not a problem of this kind was not said by the
control plane. Clients must ignore fields that they do not know. A path that is not listed answers 404 \`not-found\`, a method that is
not listed 405 \`method-not-allowed\` with Allow.`

const tags = {
  jobs: 'Asking for jobs, watching and stopping them.',
  archives: 'What the agents said of the archives in the bucket.',
  agents: 'Agents, their keys and what they would say.',
  people: 'Who may call: tokens and sessions.',
  audit: 'Who asked, what was signed, what ran.',
  'agent protocol': 'What agents call, each call signed.',
  service: 'Whether it lives, and this document.',
}

const parameters = {
  IdempotencyKey: {
    in: 'header' as const,
    name: 'Idempotency-Key',
    description: 'The same request again within a day under the same key is done once, and gets the same answer.',
    schema: { type: 'string' as const, pattern: '^[\\x21-\\x7e]{1,200}$' },
  },
  IfNoneMatch: {
    in: 'header' as const,
    name: 'If-None-Match',
    description: 'The ETag of an earlier answer.',
    schema: { type: 'string' as const },
  },
}

const securitySchemes = {
  token: {
    type: 'http' as const,
    scheme: 'bearer',
    description: 'A token `mbs_…`, or a JWT of an issuer that the control plane was told of.',
  },
  session: {
    type: 'apiKey' as const,
    in: 'cookie',
    name: '__Host-multiboard',
    description: 'Of POST /v1/session; same origin only.',
  },
  agentSignature: {
    type: 'apiKey' as const,
    in: 'header',
    name: 'authorization',
    description: '`MBS-JWS <token>`: a JWS by the agent over method, path, query and body.',
  },
  ticket: {
    type: 'apiKey' as const,
    in: 'query',
    name: 'ticket',
    description: 'Of POST /v1/jobs/{id}/stream-ticket: good for the events of that job, ten minutes long.',
  },
}
