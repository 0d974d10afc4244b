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
])('%j is told by place', (text, finding) => {
  expect(detailsOf(text)).toEqual([expect.stringMatching(finding)])
})

test('the text of a line that is not YAML is not repeated', () => {
  expect(JSON.stringify(detailsOf('databases:\n  production: "canary\n   : ]'))).not.toContain('canary')
})
