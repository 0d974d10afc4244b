import { readFile } from 'node:fs/promises'
import { jobParamsSchema } from '@multiboard-sync/shared/job'
import { mappingSchema } from '@multiboard-sync/shared/mapping'
import type { Policy } from '@multiboard-sync/shared/policy'
import { SyncError } from '@multiboard-sync/shared/sync-error'
import { createDatabase, type TestDatabase } from '@multiboard-sync/shared/testing/test-database'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { stringify } from 'yaml'
import { parsePolicy } from '../src/config/read-policy.ts'
import { openSession, type Session } from '../src/postgres/session.ts'
import { compileMapping } from '../src/reindex/mapping/compile-mapping.ts'
import { TYPE_RULES } from '../src/reindex/mapping/type-rules.ts'
import { probeRights } from '../src/typesense/probe-rights.ts'
import { typesTable } from './search-docs-table.ts'

/* What docs/TYPESENSE.md and agent.example.yaml say is what the code does. */

const DEADLINE_MS = 30_000
const read = async (path: string): Promise<string> => await readFile(new URL(`../../${path}`, import.meta.url), 'utf8')
const docs = await read('docs/TYPESENSE.md')
const example = await read('agent.example.yaml')

let database: TestDatabase
let session: Session
beforeAll(async () => {
  const tables = await read('scripts/parts-database/tables.sql')
  database = await createDatabase({ sql: tables })
  const url = { name: 'staging', url: database.url, viaProxy: false }
  session = await openSession(url, { purpose: 'test', signal: AbortSignal.timeout(DEADLINE_MS), readOnly: true })
})
afterAll(async () => {
  await session.close()
  await database[Symbol.asyncDispose]()
})

/** What is between two markers, or behind the first one to the end of a fence. */
function between(text: string, begin: string, end: string): string {
  const from = text.indexOf(begin) + begin.length
  const to = text.indexOf(end, from)
  if (from < begin.length || to < 0) throw new Error(`${begin} … ${end} is not there`)
  return text.slice(from, to).trim()
}

/** Aliases of the mappings that fit; what does not fit by its findings. */
async function compileAll({ collections }: Policy): Promise<string[]> {
  const compiled: string[] = []
  for (const [alias, mapping] of Object.entries(collections)) {
    const found = await compileMapping(session, alias, mapping).catch((error: unknown) => error)
    compiled.push(...(found instanceof SyncError ? found.details : [alias]))
  }
  return compiled
}

const databases = { databases: { production: { role: 'source' }, staging: { role: 'target' } } }
const routes = { routes: [{ from: 'production', to: 'staging' }] }
const yaml = between(docs, '```yaml\n', '\n```')
const documented = () => parsePolicy(`${stringify({ ...databases, ...routes })}\n${yaml}`, 'docs/TYPESENSE.md')

describe('the documentation of the search index', () => {
  it('has the table of types that the code decides by', () => {
    expect(between(docs, '<!-- types -->', '<!-- /types -->')).toBe(typesTable(TYPE_RULES))
  })

  it('shows mappings that fit the tables of the demo', async () => {
    expect(await compileAll(documented())).toEqual(['components', 'makers'])
  })

  it('shows every key that a mapping may have', () => {
    const shown = (key: string): boolean => new RegExp(`(^|[\\s{,])${key}:`).test(yaml)
    const { fields, collection, verify, ...keys } = mappingSchema.shape
    const inner = [fields.element.shape, collection.unwrap().shape, verify.unwrap().shape]
    for (const key of [keys, ...inner].flatMap((shape) => Object.keys(shape))) {
      const isRefused = docs.includes(`\`${key}\``) && ['num_dim', 'embed'].includes(key)
      expect(shown(key) || isRefused, key).toBe(true)
    }
  })

  it('names every right that the agent asks a key for', async () => {
    const names = { alias: 'components', probe: 'components__1' }
    for (const right of await probeRights(async () => 401, { ...names, hasSets: true })) {
      expect(between(docs, '"actions": [', ']')).toContain(`"${right}"`)
    }
    for (const right of await probeRights(async () => 401, { ...names, hasSets: false })) {
      expect(docs).toMatch(new RegExp(`"${right}"|\`${right.replace(/:.*/, ':\\*')}\``))
    }
  })

  it('asks for a reindex over HTTP in words that a job has', () => {
    const body = /`(\{ "kind": "reindex".*?\})`/.exec(docs)?.[1] ?? ''
    expect(jobParamsSchema.safeParse(JSON.parse(body)).success).toBe(true)
  })

  it('names only error codes that there are', async () => {
    const codes = await read('shared/src/sync-error.ts')
    const rows = between(docs, '## What went wrong', '## Retry').split('\n')
    const named = rows.flatMap((row) => [
      ...(/^\| (?:exit code \d, )?((?:`[a-z-]+`(?:, )?)+)/.exec(row)?.[1] ?? '').matchAll(/`([a-z-]+)`/g),
    ])
    expect(named.length).toBeGreaterThan(10)
    for (const [, code] of named) expect(codes).toContain(`'${code}'`)
  })
})

describe('the example of a policy', () => {
  it('shows a collection that fits the tables of the demo, when its comment signs are taken away', async () => {
    const from = example.indexOf('# collections:')
    const uncommented = example.slice(from).replaceAll(/^# ?/gm, '')
    const policy = parsePolicy(example.slice(0, from) + uncommented, 'agent.example.yaml')
    expect(await compileAll(policy)).toEqual(['components'])
  })
})
