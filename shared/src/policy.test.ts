import { describe, expect, test } from 'vitest'
import { jobParamsSchema, type JobParams } from './job.ts'
import { policySchema, policySha256, routeAllows, type Policy, type Rules } from './policy.ts'
import { evaluatePolicy, type ArchiveOrigin } from './policy-evaluate.ts'
import { policyViewSchema, viewPolicy } from './policy-view.ts'

const policy = policySchema.parse({
  databases: {
    production: { role: 'source', protected: true },
    staging: { role: 'both' },
    preview: { role: 'target' },
    vault: { role: 'both', protected: true },
    cold: { role: 'source' },
    apart: { role: 'both' },
  },
  routes: [
    { from: 'production', to: 'staging', tables: { include: ['public.*'], exclude: ['Session'] } },
    { from: 'staging', to: 'preview' },
    { from: 'preview', to: 'staging' },
    { from: 'staging', to: 'production' },
    { from: 'production', to: 'vault' },
  ],
  collections: {
    components: { database: 'staging', from: 'public."Component"', fields: [{ name: 'title', type: 'string' }] },
    archive: { database: 'cold', sql: 'select 1 as id', fields: [{ name: 'title', type: 'string' }] },
  },
})
const NOW = new Date('2026-11-22T12:00:00Z')
const ask = (params: unknown, archive?: ArchiveOrigin): string => {
  const verdict = evaluatePolicy(policy, jobParamsSchema.parse(params) satisfies JobParams, { now: NOW, archive })
  if (verdict.allowed) return 'allowed'
  expect(verdict.message).toMatch(/\.$/)
  expect(verdict.hint).toMatch(/\.$/)
  return verdict.code
}
const sync = (source: string, target: string): string => ask({ kind: 'sync', source, target })
const restore = (target: string, archive?: ArchiveOrigin): string =>
  ask({ kind: 'restore', archive: '20261122T080312Z-production-k7f2', target }, archive)

describe('the policy', () => {
  test('lets flow what a route names, and nothing else', () => {
    expect(sync('production', 'staging')).toBe('allowed')
    expect(sync('production', 'preview')).toBe('policy-denied')
    expect(sync('staging', 'staging')).toBe('same-database')
    expect(sync('nowhere', 'staging')).toBe('database-unknown')
    expect(sync('constructor', 'staging')).toBe('database-unknown')
  })

  test('lets a role weigh more than a route', () => {
    expect(sync('preview', 'staging')).toBe('policy-denied')
    expect(sync('staging', 'production')).toBe('target-protected')
  })

  test('protects a database unless a route names it', () => {
    expect(sync('staging', 'vault')).toBe('target-protected')
    expect(sync('production', 'vault')).toBe('allowed')
  })

  test('lets be exported what is a source', () => {
    expect(ask({ kind: 'export', source: 'production' })).toBe('allowed')
    expect(ask({ kind: 'export', source: 'preview' })).toBe('policy-denied')
  })

  test('lets an archive go where its source may flow, and a safety backup where it is from', () => {
    const created_at = '2026-11-01T00:00:00Z'
    expect(restore('staging')).toBe('archive-unknown')
    expect(restore('staging', { source: 'production', kind: 'export', created_at })).toBe('allowed')
    expect(restore('staging', { source: 'gone', kind: 'export', created_at })).toBe('policy-denied')
    expect(restore('staging', { source: 'staging', kind: 'safety-backup', created_at })).toBe('allowed')
    expect(restore('staging', { source: 'staging', kind: 'export', created_at })).toBe('policy-denied')
    expect(restore('production', { source: 'production', kind: 'safety-backup', created_at })).toBe('target-protected')
  })

  test('lets be reindexed what a collection is made of, by the view of it as well', () => {
    const reindex = (source: string, collections?: string[]) => ({ kind: 'reindex', source, collections }) as const
    const decide = (rules: Rules, source: string, collections?: string[]): string => {
      const verdict = evaluatePolicy(rules, jobParamsSchema.parse(reindex(source, collections)), { now: NOW })
      return verdict.allowed ? 'allowed' : verdict.code
    }
    for (const rules of [policy, viewPolicy(policy)]) {
      expect(decide(rules, 'staging')).toBe('allowed')
      expect(decide(rules, 'staging', ['components'])).toBe('allowed')
      expect(decide(rules, 'cold'), 'in no route').toBe('allowed')
      expect(decide(rules, 'apart'), 'in no route, and of no collection').toBe('policy-denied')
      expect(decide(rules, 'production'), 'in a route, and of no collection').toBe('collection-unknown')
      expect(decide(rules, 'staging', ['components', 'archive'])).toBe('collection-unknown')
      expect(decide(rules, 'staging', ['constructor'])).toBe('collection-unknown')
      expect(decide(rules, 'nowhere')).toBe('database-unknown')
    }
    const { collections: _, ...older } = viewPolicy(policy)
    expect(decide(older, 'staging'), 'an agent that knows no collections').toBe('collection-unknown')
  })

  test('names a table by itself or by what it is a part of', () => {
    const [route] = policy.routes
    if (!route) throw new Error('no route')
    const named = (schema: string, name: string) => ({ schema, name })
    expect(routeAllows(route, [named('public', 'Component')])).toBe(true)
    expect(routeAllows(route, [named('audit', 'Component')])).toBe(false)
    expect(routeAllows(route, [named('public', 'Session_1'), named('public', 'Session')])).toBe(false)
  })
})

describe('the view of a policy', () => {
  test('tells of a collection whose rows are in it, and not a word of how it is made', () => {
    const view = viewPolicy(policy)
    expect(view.collections).toEqual({ components: { database: 'staging' }, archive: { database: 'cold' } })
    expect(JSON.stringify(view)).not.toMatch(/select|Component"|title/)
    expect(policyViewSchema.parse(policy).collections, 'whatever was sent').toEqual(view.collections)
  })

  test('is what it was before there were collections where there are none', () => {
    const bare = policySchema.parse({ databases: { a: { role: 'source' } } })
    expect(viewPolicy(bare)).not.toHaveProperty('collections')
    expect(policyViewSchema.parse(viewPolicy(bare))).toEqual(viewPolicy(bare))
  })
})

describe('the digest of a policy', () => {
  const digest = (raw: unknown): string => policySha256(policySchema.parse(raw))
  const small = { databases: { a: { role: 'source' }, b: { role: 'target' } }, routes: [{ from: 'a', to: 'b' }] }

  test('is the same for the same meaning', () => {
    const reordered = {
      routes: [{ to: 'b', from: 'a', tables: { exclude: [], include: ['*.*'] } }],
      verify: 'checksums',
      databases: { b: { role: 'target' }, a: { protected: false, role: 'source' } },
    }
    expect(digest(reordered)).toBe(digest(small))
  })

  test('changes with anything that is meant', () => {
    const others: Policy[] = [
      { ...small, verify: 'counts' },
      { ...small, routes: [] },
      { ...small, routes: [{ from: 'a', to: 'b', max_row_drop_pct: 0 }] },
      { ...small, databases: { ...small.databases, a: { role: 'both' } } },
    ].map((raw) => policySchema.parse(raw))
    const digests = new Set([digest(small), ...others.map(policySha256)])
    expect(digests.size).toBe(others.length + 1)
  })
})

test('a policy with a word that is not known is refused, whatever it may have meant', () => {
  expect(policySchema.safeParse({ databases: {}, route: [] }).success).toBe(false)
  expect(policySchema.safeParse({ databases: { a: { role: 'source', protect: true } } }).success).toBe(false)
  const patterns = { databases: {}, routes: [{ from: 'a', to: 'b', tables: { include: ['a.b.c'] } }] }
  expect(policySchema.safeParse(patterns).success).toBe(false)
})
