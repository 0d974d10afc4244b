import { readFile } from 'node:fs/promises'
import { Validator } from '@seriousme/openapi-schema-validator'
import { expect, test } from 'vitest'
import { makeApp, makeDocument } from '../../../scripts/openapi/make-document.ts'

interface Operation {
  operationId: string
  summary?: string
  tags?: string[]
  parameters?: { in?: string; name?: string }[]
  responses: Record<string, { content?: Record<string, unknown> }>
  security?: unknown[]
}
interface Document {
  openapi: string
  tags: { name: string }[]
  paths: Record<string, Record<string, Operation>>
  components: { schemas: Record<string, unknown>; securitySchemes: Record<string, unknown> }
}

const text = await makeDocument()
const document = JSON.parse(text) as Document
const operations = Object.entries(document.paths).flatMap(([path, methods]) =>
  Object.entries(methods).map(([method, operation]) => ({ what: `${method.toUpperCase()} ${path}`, path, operation })),
)

test('the committed document is that of the routes', async () => {
  const committed = await readFile(new URL('../../openapi.json', import.meta.url), 'utf8')
  expect(committed === text, 'control-plane/openapi.json is not up to date: run `pnpm openapi` and commit it').toBe(
    true,
  )
})

test('the document is the same each time', async () => {
  expect(await makeDocument()).toBe(text)
})

test('the document is OpenAPI 3.1 by its official schema', async () => {
  expect(await new Validator().validate(JSON.parse(text))).toEqual({ valid: true })
  const broken = { ...document, paths: { '/x': { get: { responses: { 200: {} } } } } }
  expect(await new Validator().validate(broken)).toMatchObject({ valid: false })
})

test('every route is in the document', () => {
  const routes = makeApp().routes.filter(({ method }) => method !== 'ALL')
  const named = routes.map(({ method, path }) => `${method} ${path.replaceAll(/:([a-z]+)/gi, '{$1}')}`)
  expect([...new Set(named)].toSorted()).toEqual(operations.map(({ what }) => what).toSorted())
})

test('every route says what it does, for whom, and how it fails', () => {
  const tags = document.tags.map(({ name }) => name)
  for (const { operation, path, what } of operations) {
    expect(operation.summary, what).toMatch(/^[A-Z].*[^.]$/)
    expect(tags, what).toEqual(expect.arrayContaining(operation.tags ?? ['none']))
    expect(operation.responses['500']?.content, what).toHaveProperty(['application/problem+json'])
    const isOpen = operation.security?.length === 0
    expect(isOpen || ['401', '403'].every((status) => status in operation.responses), what).toBe(true)
    expect(isOpen, what).toBe(
      ['/healthz', '/readyz', '/v1/openapi.json', '/v1/enroll'].includes(path) || what === 'POST /v1/session',
    )
    const inPath = operation.parameters?.filter((parameter) => parameter.in === 'path').map(({ name }) => `{${name}}`)
    expect(inPath ?? [], what).toEqual(path.match(/\{[a-z]+\}/gi) ?? [])
  }
  expect(new Set(operations.map(({ operation }) => operation.operationId)).size).toBe(operations.length)
})

test('whatever makes or stops something takes an Idempotency-Key', () => {
  // A session or a ticket made twice harms nobody, a preview makes nothing, a DELETE is the same twice, agents have epochs.
  const without = ['/v1/session', '/v1/policy/preview', '/v1/enroll', '/v1/jobs/{id}/stream-ticket']
  for (const { operation, path, what } of operations) {
    if (!what.startsWith('POST') || path.startsWith('/v1/agent/')) continue
    const takesKey = JSON.stringify(operation.parameters ?? []).includes('IdempotencyKey')
    expect(takesKey, what).toBe(!without.includes(path))
  }
})

test('every reference leads somewhere, and every name was given by us', () => {
  const references = [...new Set(text.match(/#\/components\/[\w/]+/g))]
  for (const reference of references) {
    const [, , kind = '', name = ''] = reference.split('/')
    expect(document.components, reference).toHaveProperty([kind, name])
  }
  expect(Object.keys(document.components.schemas).filter((name) => !/^[A-Z][A-Za-z]+$/.test(name))).toEqual([])
})
