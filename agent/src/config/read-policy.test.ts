import { readFile } from 'node:fs/promises'
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

const line = (more: string): string => BASE.replace('to: staging }', `to: staging, ${more} }`)

test('agent.example.yaml shows every key of a database and of a route as it may be written', async () => {
  const text = await readFile(new URL('../../../agent.example.yaml', import.meta.url), 'utf8')
  const keys = ['url_env', 'via_proxy', 'system_identifier', 'database_oid', 'kinds', 'window', 'max_jobs_per_day']
  const shown = [...keys, 'min_interval', 'max_archive_age'].join('|')
  const { databases, routes } = parsePolicy(text.replaceAll(new RegExp(`# ((${shown}): )`, 'g'), '$1'), 'agent.yaml')
  expect(databases['staging']).toEqual({
    role: 'target',
    protected: false,
    url_env: 'OLD_STAGING_URL',
    via_proxy: true,
    system_identifier: '7412345678901234567',
    database_oid: 16_384,
  })
  expect(routes).toEqual([
    {
      from: 'production',
      to: 'staging',
      tables: { include: ['public.*'], exclude: ['public.Session'] },
      max_row_drop_pct: 30,
      kinds: ['sync'],
      window: ['Sat 02:00-05:00 Europe/Zurich', 'daily 22:00-04:00 UTC'],
      max_jobs_per_day: 12,
      min_interval: '10m',
      max_archive_age: '30d',
    },
  ])
})

test('what means the same has the same digest, and what means something else has not', () => {
  const digest = (more: string): string => policySha256(parsePolicy(line(more), 'agent.yaml'))
  expect(digest('min_interval: 60m')).toBe(digest('min_interval: 1h'))
  expect(digest('max_archive_age: 48h')).toBe(digest('max_archive_age: 2d'))
  expect(digest('kinds: [restore, sync]')).toBe(digest('kinds: [sync, restore, sync]'))
  expect(digest('window: Sat 02:00-05:00 UTC')).toBe(digest('window: [Sat 02:00-05:00 UTC]'))
  const some = ['max_jobs_per_day: 1', 'max_jobs_per_day: 2', 'min_interval: 1h', 'min_interval: 61m', 'kinds: [sync]']
  expect(new Set(some.map(digest)).size).toBe(some.length)
})

test('archives are packed with gzip unless the policy says otherwise', () => {
  const packing = (text: string) => parsePolicy(BASE + text, 'agent.yaml').archive
  expect(packing('')).toEqual({ compression: 'gzip', level: 1 })
  expect(packing('archive: { compression: zstd }\n')).toEqual({ compression: 'zstd', level: 1 })
  expect(packing('archive: { level: 6 }\n')).toEqual({ compression: 'gzip', level: 6 })
  for (const wrong of ['compression: lz4', 'level: 10', 'level: 0', 'codec: zstd']) {
    expect(() => packing(`archive: { ${wrong} }\n`), wrong).toThrow(SyncError)
  }
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
  [line('window: Sat 02:00-05:00'), /^routes\.0\.window: .*Sat 02:00-05:00 Europe\/Zurich/],
  [line('window: [Sat 02:00-05:00 UTC, Sat 02:00-05:00 Mars/Olympus]'), /^routes\.0\.window/],
  [line('window: []'), /^routes\.0\.window/],
  [line('min_interval: 25h'), /^routes\.0\.min_interval: a time up to 1d, such as 10m$/],
  [line('min_interval: 10'), /^routes\.0\.min_interval: /],
  [line('max_archive_age: 0d'), /^routes\.0\.max_archive_age: /],
  [line('max_jobs_per_day: 0'), /^routes\.0\.max_jobs_per_day: /],
  [line('kinds: [undo]'), /^routes\.0\.kinds\.0: /],
  // A number that JavaScript cannot hold would silently be another one.
  [
    BASE.replace('role: target', 'role: target, system_identifier: 7412345678901234567'),
    /^databases\.staging\.system_identifier: digits in quotes$/,
  ],
  [BASE.replace('role: target', 'role: target, database_oid: 0'), /^databases\.staging\.database_oid: /],
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
