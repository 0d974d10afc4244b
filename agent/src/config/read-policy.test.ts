import { expect, test } from 'vitest'
import { policySha256 } from '@multiboard-sync/shared/policy'
import { SyncError } from '@multiboard-sync/shared/sync-error'
import { parsePolicy } from './read-policy.ts'

const BASE = `
databases:
  production: { role: source }
  staging: { role: target }
routes:
  - { from: production, to: staging }
`
const detailsOf = (text: string): string[] => {
  try {
    parsePolicy(text, 'agent.yaml')
  } catch (error) {
    if (error instanceof SyncError && error.code === 'config-invalid') return error.details
    throw error
  }
  return []
}

test('what the file leaves out has its default, and the layout of the file does not matter', () => {
  const policy = parsePolicy(BASE, 'agent.yaml')
  expect(policy).toMatchObject({ verify: 'checksums', limits: { connections_per_database: 4, lock_attempts: 8 } })
  const other = parsePolicy(`# a remark\n${BASE}verify: "checksums"\nlimits: {}\n`, 'agent.yaml')
  expect(policySha256(other)).toBe(policySha256(policy))
})

test('a collection without a database is made of the rows of the only one that routes lead to', () => {
  const text = `${BASE}collections:\n  parts: { from: a, fields: [{ name: t, type: string }] }\n`
  expect(parsePolicy(text, 'agent.yaml').collections['parts']).toMatchObject({ database: 'staging', id: 'id', keep: 1 })
})

test.each([
  ['routes: [', /^line 1, column/],
  ['', /^the file: /],
  [`${BASE}routes: []\n`, /^line 7, column/],
  [
    `${BASE}  - { from: production, to: staging }\n`,
    /^routes\.1: there is a route from "production" to "staging" already$/,
  ],
  [`${BASE}  - { from: constructor, to: staging }\n`, /^routes\.1: no database is named "constructor"$/],
  [`${BASE}limits: { lock_attempts: 0 }\n`, /^limits\.lock_attempts: /],
  [
    `${BASE}collections:\n  parts: { database: constructor, from: a, fields: [{ name: t, type: string }] }\n`,
    /^collections\.parts: no database is named "constructor"$/,
  ],
  [
    `${BASE}collections:\n  parts: { fields: [{ name: t, type: string }] }\n`,
    /^collections\.parts: name a table or view/,
  ],
  [
    `${BASE}collections:\n  parts: { from: a, sql: select 1, fields: [{ name: t, type: string }] }\n`,
    /^collections\.parts: from and sql are both there/,
  ],
  [
    BASE.replace('to: staging }', 'to: staging, collections: [parts] }'),
    /^routes\.0\.collections: no collection is named "parts"$/,
  ],
  [
    `${BASE.replace('to: staging }', 'to: staging, collections: [parts] }')}collections:
  parts: { database: production, from: a, fields: [{ name: t, type: string }] }\n`,
    /^routes\.0\.collections: "parts" is made of the rows of "production", not of "staging"$/,
  ],
  [
    `${BASE.replace('staging: { role: target }', 'staging: { role: target }\n  preview: { role: target }')}  - { from: production, to: preview }
collections:\n  parts: { from: a, fields: [{ name: t, type: string }] }\n`,
    /^collections\.parts: name its database: routes lead to none or to several$/,
  ],
])('%j is told by place', (text, finding) => {
  expect(detailsOf(text)).toEqual([expect.stringMatching(finding)])
})

test('the text of a line that is not YAML is not repeated', () => {
  expect(JSON.stringify(detailsOf('databases:\n  production: "canary\n   : ]'))).not.toContain('canary')
})
