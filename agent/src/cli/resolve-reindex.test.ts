import { policySchema } from '@multiboard-sync/shared/policy'
import { SyncError } from '@multiboard-sync/shared/sync-error'
import { expect, test } from 'vitest'
import { resolveReindex } from './resolve-reindex.ts'

const mapping = (database: string) => ({ database, from: 'public.t', fields: [{ name: 'a', type: 'string' }] })
const policy = policySchema.parse({
  databases: { staging: { role: 'target' }, live: { role: 'source' } },
  collections: { components: mapping('staging'), suppliers: mapping('staging'), orders: mapping('live') },
})
const resolve = (source: string | undefined, aliases: string[], full = false) =>
  resolveReindex(policy, { name: 'reindex', source, aliases, full, dryRun: false, json: false })
const code = (source: string | undefined, aliases: string[]): string => {
  try {
    resolve(source, aliases)
  } catch (thrown) {
    if (thrown instanceof SyncError) return thrown.code
    throw thrown
  }
  return 'resolved'
}

test('the collections say whose rows they are made of', () => {
  expect(resolve(undefined, ['orders'], true)).toEqual({
    kind: 'reindex',
    source: 'live',
    collections: ['orders'],
    full: true,
  })
  expect(resolve(undefined, ['components', 'suppliers'])).toMatchObject({ source: 'staging' })
  expect(resolve('staging', []), 'all of it').toEqual({ kind: 'reindex', source: 'staging' })
})

test('those of several databases are not one job, and one that is not known is none', () => {
  expect(code(undefined, [])).toBe('usage')
  expect(code(undefined, ['components', 'orders'])).toBe('usage')
  expect(code(undefined, ['constructor'])).toBe('collection-unknown')
})
