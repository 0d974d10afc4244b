import fc from 'fast-check'
import { calculateJwkThumbprint, CompactSign, exportJWK, generateKeyPair } from 'jose'
import { ORDER_TYPE } from '@multiboard-sync/shared/order'
import { policySchema, policySha256 } from '@multiboard-sync/shared/policy'
import { formatTableName } from '@multiboard-sync/shared/table-pattern'
import { toSyncError } from '@multiboard-sync/shared/sync-error'
import { describe, expect, test } from 'vitest'
import { archivePrefix, partName } from '../archive/object-names.ts'
import { parsePolicy } from '../config/read-policy.ts'
import { quoteIdent } from '../postgres/quote.ts'
import { verifyOrder } from '../verify/verify-order.ts'
import { selectTables } from './select-tables.ts'

/* T8: names that are meant to be SQL, paths, patterns or nothing at all, in every place where somebody else gives one. */

const HOSTILE = [
  `x"; drop table public.part; --`,
  `x'; select pg_sleep(9); --`,
  '../../etc/passwd',
  '..',
  '/',
  'a/b',
  'a\\b',
  '%2e%2e%2f',
  'a\u0000b',
  '\u0000',
  'a\nb',
  '\u202Egnirts',
  'ﬀ',
  'Ünïcode-🙂',
  'constructor',
  '__proto__',
  'x'.repeat(64),
  '🙂'.repeat(16),
  ' production',
  'production ',
  'PRODUCTION',
  '$(reboot)',
  '`reboot`',
  '{{7*7}}',
  '*',
  '?',
  '',
]
const hostile = fc.oneof(
  fc.constantFrom(...HOSTILE),
  fc.string({ unit: fc.constantFrom(...Array.from('"\'`;./\\*?%_-\u0000\n$aZ0é🙂 ')), maxLength: 80 }),
  fc.string({ unit: 'binary', maxLength: 80 }),
)

const ISSUER = 'https://sync.example.com'
const NOW = new Date('2026-11-22T12:00:00Z')
const policy = policySchema.parse({
  databases: { production: { role: 'source' }, staging: { role: 'both' } },
  routes: [{ from: 'production', to: 'staging', tables: { include: ['public.*'], exclude: ['public.secret*'] } }],
  collections: { parts: { database: 'staging', from: 'part', fields: [{ name: 'title', type: 'string' }] } },
})

const { privateKey, publicKey } = await generateKeyPair('EdDSA', { extractable: true })
const kid = await calculateJwkThumbprint(await exportJWK(publicKey))

/** What the agent says to an order with these parameters, which are signed as they are. */
async function answerTo(params: Record<string, unknown>): Promise<string> {
  const iat = NOW.getTime() / 1000
  const claims = {
    iss: ISSUER,
    aud: 'agent:vps1',
    iat,
    nbf: iat,
    exp: iat + 300,
    jti: 'jti-00000001',
    job: { id: 'j4k7q2m9xw1ab', kind: params['kind'], epoch: 1, fence: 7 },
    requester: 'stolen',
    params,
    policy_sha256: policySha256(policy),
  }
  const token = await new CompactSign(new TextEncoder().encode(JSON.stringify(claims)))
    .setProtectedHeader({ alg: 'EdDSA', typ: ORDER_TYPE, kid })
    .sign(privateKey)
  try {
    await verifyOrder(token, {
      agent: 'vps1',
      issuer: ISSUER,
      policy,
      policySha256: policySha256(policy),
      findKey: async () => publicKey,
      serverDate: NOW,
      now: () => NOW,
      seen: {
        has: () => false,
        newestEpoch: () => 0,
        remember: async () => undefined,
        [Symbol.asyncDispose]: async () => undefined,
      },
      journaled: async () => undefined,
    })
    return 'taken'
  } catch (thrown) {
    return toSyncError(thrown).code
  }
}

const REFUSED = ['order-malformed', 'order-unknown-claim', 'database-unknown', 'collection-unknown', 'policy-denied']

describe('T8: an order is refused', () => {
  test.each([
    ['a source', (name: string) => ({ kind: 'sync', source: name, target: 'staging' })],
    ['a target', (name: string) => ({ kind: 'sync', source: 'production', target: name })],
    ['what is exported', (name: string) => ({ kind: 'export', source: name })],
    ['an archive', (name: string) => ({ kind: 'restore', archive: name, target: 'staging' })],
    ['the target of a restore', (name: string) => ({ kind: 'restore', archive: ARCHIVE, target: name })],
    ['a job that is undone', (name: string) => ({ kind: 'undo', target: 'staging', job: name })],
    ['a collection', (name: string) => ({ kind: 'reindex', source: 'staging', collections: [name] })],
    ['an engine', (name: string) => ({ kind: 'sync', source: 'production', target: 'staging', engine: name })],
  ])('that names %s as nobody may', async (_, paramsOf) => {
    for (const name of HOSTILE) expect(REFUSED, name).toContain(await answerTo(paramsOf(name)))
    await fc.assert(
      fc.asyncProperty(hostile, async (name) => {
        expect(REFUSED).toContain(await answerTo(paramsOf(name)))
      }),
      { numRuns: 60 },
    )
  })

  test('that has a parameter nobody knows, whatever its name', async () => {
    await fc.assert(
      fc.asyncProperty(hostile, async (name) => {
        const params: Record<string, unknown> = { kind: 'export', source: 'production' }
        // An assignment to `__proto__` would not be one.
        Object.defineProperty(params, name, { value: 1, enumerable: true, configurable: true })
        expect(['order-unknown-claim', 'order-malformed']).toContain(await answerTo(params))
      }),
      { numRuns: 60 },
    )
  })
})

const ARCHIVE = '20261122T080312Z-production-k7f2'

describe('T8: table names', () => {
  const name = hostile.filter((text) => text !== '' && !text.includes('\u0000'))
  const tableOf = (schema: string, table: string, oid: number) => ({
    schema,
    name: table,
    oid,
    parentOid: null,
    isLeaf: true,
  })

  test('of an order choose tables of the catalogue, or none: a pattern is compared, never run', () => {
    fc.assert(
      fc.property(name, name, (asked, other) => {
        const tables = [tableOf('public', asked, 1), tableOf('public', other, 2)].slice(0, asked === other ? 1 : 2)
        const chosen = select(tables, [formatTableName({ schema: 'public', name: asked })])
        const isKept = asked.startsWith('secret')
        expect(chosen).toEqual(isKept ? 'policy-denied' : [asked])
      }),
      { numRuns: 500 },
    )
  })

  test('that are no pattern are refused with the order, the others choose no table by accident', async () => {
    const catalogue = [tableOf('public', 'part', 1), tableOf('audit', 'part', 2), tableOf('public', 'secret_key', 3)]
    await fc.assert(
      fc.asyncProperty(hostile, async (text) => {
        const answer = await answerTo({ kind: 'sync', source: 'production', target: 'staging', tables: [text] })
        const chosen = answer === 'taken' ? select(catalogue, [text]) : answer
        const isSafe = Array.isArray(chosen)
          ? chosen.every((one) => one === 'part')
          : [...REFUSED, ...NONE].includes(chosen)
        expect(isSafe, `${JSON.stringify(text)} chose ${JSON.stringify(chosen)}`).toBe(true)
      }),
      { numRuns: 300 },
    )
  })

  test('are quoted so that PostgreSQL reads one name', () => {
    fc.assert(
      fc.property(name, (text) => {
        const quoted = quoteIdent(text)
        expect(quoted).toMatch(/^"(?:[^"]|"")*"$/s)
        expect(quoted.slice(1, -1).replaceAll('""', '"')).toBe(text)
      }),
      { numRuns: 500 },
    )
  })
})

const NONE = ['table-unknown', 'selection-empty']

function select(tables: Parameters<typeof selectTables>[0], patterns: string[]): string[] | string {
  try {
    return selectTables(tables, patterns, policy.routes[0]).chosen.map((table) => table.name)
  } catch (thrown) {
    return toSyncError(thrown).code
  }
}

test('T8: keys of objects stay in the folder of their archive, whatever a table is called', () => {
  const folder = archivePrefix('mbs', 'export', ARCHIVE)
  const name = hostile.filter((text) => text !== '' && text.isWellFormed())
  fc.assert(
    fc.property(name, name, (schema, table) => {
      const key = `${folder}${partName({ schema, name: table }, 0)}`
      expect(key).toMatch(/^mbs\/archives\/[\w-]+\/100-data\/[\w%-]+\.[\w%-]+\/00000\.sql$/)
    }),
    { numRuns: 300 },
  )
})

test('T8: a policy has the databases that may be called so, and no other', () => {
  fc.assert(
    fc.property(hostile, (text) => {
      const isName = /^[a-z][a-z0-9_]{0,62}$/.test(text)
      expect(namesIn(JSON.stringify({ databases: { [text]: { role: 'source' } } }))).toEqual(isName ? [text] : [])
    }),
    { numRuns: 200 },
  )
})

function namesIn(text: string): string[] {
  try {
    return Object.keys(parsePolicy(text, 'agent.yaml').databases)
  } catch (thrown) {
    if (toSyncError(thrown).code === 'config-invalid') return []
    throw thrown
  }
}
