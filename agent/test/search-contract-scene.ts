import { randomBytes } from 'node:crypto'
import { text } from 'node:stream/consumers'
import { startTypesense } from '@multiboard-sync/shared/testing/typesense'
import { openTypesense } from '../src/typesense/open-typesense.ts'
import type { CollectionSchema, RefusedLine, Typesense } from '../src/typesense/typesense.ts'
import { waitUntilSettled } from '../src/typesense/wait-until-settled.ts'

/*
 * The search servers that the contract is held against: our own always, and a real one where TYPESENSE_TEST_URL and
 * TYPESENSE_TEST_API_KEY name it. There the tests touch nothing but what bears a prefix of their own, and take it away.
 */

const DEADLINE_MS = 30_000
const REAL_URL = process.env['TYPESENSE_TEST_URL']
const REAL_KEY = process.env['TYPESENSE_TEST_API_KEY']

interface Server extends AsyncDisposable {
  url: string
  apiKey: string
}
const own = (version: string) => ({
  server: `our own, as version ${version}`,
  start: async (): Promise<Server> => await startTypesense({ version }),
})

/** For `describe.each`. */
export const servers = [own('30.0'), own('29.0')]
if (REAL_URL === undefined || REAL_KEY === undefined) {
  process.stdout.write('Skipped: no real search server; TYPESENSE_TEST_URL and TYPESENSE_TEST_API_KEY name none.\n')
} else {
  const letGo = async () => await Promise.resolve()
  const real = { url: REAL_URL, apiKey: REAL_KEY, [Symbol.asyncDispose]: letGo }
  servers.push({ server: 'a real one', start: async () => await Promise.resolve(real) })
}

export const SCHEMA: CollectionSchema = {
  fields: [
    { name: 'title', type: 'string' },
    { name: 'qty', type: 'int32' },
    { name: 'serial', type: 'int64', optional: true },
    { name: 'price', type: 'float', optional: true },
    { name: 'tags', type: 'string[]', facet: true, optional: true },
  ],
  default_sorting_field: 'qty',
}
export const part = (id: string, more: object = {}) => ({ id, title: `Part ${id}`, qty: 1, ...more })

/** A server with a collection of SCHEMA for each test. */
export interface Scene extends AsyncDisposable {
  url: string
  apiKey: string
  prefix: string
  typesense: Typesense
  /** Makes a collection with metadata { run: '1' } and answers its name; the names of a test's others begin with it. */
  begin(): Promise<string>
  /** Past our layer: what it must not do. */
  ask(method: string, path: string, body?: object): Promise<{ status: number; text: string }>
  send(name: string, documents: (object | string)[], action?: 'create' | 'upsert'): Promise<RefusedLine[]>
  settle(): Promise<void>
  count(name: string): Promise<number | undefined>
  exported(name: string, fields?: string[]): Promise<string>
}

export async function openScene(start: () => Promise<Server>): Promise<Scene> {
  const server = await start()
  const { url, apiKey } = server
  const signal = new AbortController().signal
  const typesense = await openTypesense({ url: new URL(url), apiKey, signal })
  const prefix = `contract_${randomBytes(5).toString('hex')}_`
  let made = 0
  const scene: Omit<Scene, keyof AsyncDisposable> = {
    url,
    apiKey,
    prefix,
    typesense,
    begin: async () => {
      const name = `${prefix}${made++}`
      await typesense.createCollection({ name, schema: SCHEMA, metadata: { run: '1' } })
      return name
    },
    ask: async (method, path, body) => {
      const answer = await fetch(`${url}${path}`, {
        method,
        headers: { 'x-typesense-api-key': apiKey },
        ...(body !== undefined && { body: JSON.stringify(body) }),
        signal: AbortSignal.timeout(DEADLINE_MS),
      })
      return { status: answer.status, text: await answer.text() }
    },
    send: async (name, documents, action = 'create') => {
      const lines = documents.map((document) => (typeof document === 'string' ? document : JSON.stringify(document)))
      const body = Buffer.from(`${lines.join('\n')}\n`)
      return await typesense.importDocuments(name, body, { lines: lines.length, action })
    },
    settle: async () => {
      const onWaiting = () => undefined
      await waitUntilSettled(typesense, { signal, onWaiting, giveUpAfterMs: DEADLINE_MS })
    },
    count: async (name) => (await typesense.findCollection(name))?.documents,
    exported: async (name, fields) => await text(await typesense.exportDocuments(name, fields ? { fields } : {})),
  }
  return {
    ...scene,
    [Symbol.asyncDispose]: async () => {
      for (const alias of (await typesense.listAliases()).keys()) {
        if (alias.startsWith(prefix)) await scene.ask('DELETE', `/aliases/${alias}`)
      }
      for (const { name } of await typesense.listCollections()) {
        if (name.startsWith(prefix)) await typesense.dropCollection(name)
      }
      if (typesense.hasSets) await scene.ask('DELETE', `/synonym_sets/${prefix}words`)
      await typesense[Symbol.asyncDispose]()
      await server[Symbol.asyncDispose]()
    },
  }
}

/** The code of a call's error. */
export async function failure(call: Promise<unknown>): Promise<unknown> {
  return await call.then(
    () => 'no failure',
    (error: unknown) => (error instanceof Error && 'code' in error ? error.code : error),
  )
}
