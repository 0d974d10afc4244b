import { rename, writeFile } from 'node:fs/promises'
import { createServer } from 'node:http'
import { once } from 'node:events'
import { join } from 'node:path'
import { startChaosProxy } from '@multiboard-sync/shared/testing/chaos-proxy'
import { findPgBouncer, startPgBouncer } from '@multiboard-sync/shared/testing/pgbouncer'
import { startPostgres } from '@multiboard-sync/shared/testing/postgres'
import { createDatabase, type TestDatabase } from '@multiboard-sync/shared/testing/test-database'
import { exportJWK, generateKeyPair } from 'jose'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { diagnose } from '../src/cli/open-for-doctor.ts'
import type { Finding } from '../src/cli/doctor.ts'
import { openSmallDisk } from './matrix/small-disk.ts'
import { openControl } from './road/control.ts'
import { expectNoSecrets, expectSentence } from './road/refusal.ts'
import { openWorld, POLICY, writeTrust, type World } from './road/world.ts'

/* Faults that are made for real, one at a time, and what doctor says of each: a code, and the way out in one sentence. */

const SQL = `
create schema parts;
create table parts."Component" (id int primary key, name text not null);
create table public.note (id serial primary key, text text);`

let world: World
beforeAll(async () => {
  world = await openWorld({ source: { sql: SQL }, target: { sql: SQL } })
})
afterAll(async () => await world[Symbol.asyncDispose]())

const SECRET = 'canary-pw-1'
const DEADLINE_MS = 50_000

/** Every finding; failed ones have a sentence and a hint, and none holds a secret. */
async function findAll(env: Record<string, string> = {}): Promise<Finding[]> {
  const findings: Finding[] = []
  await diagnose(AbortSignal.timeout(DEADLINE_MS), (finding) => findings.push(finding), { ...world.env, ...env })
  for (const { ok, skipped, text, hint = '' } of findings) {
    if (ok || skipped) continue
    expectSentence(text)
    expect(hint).toMatch(/^\S.{10,}[.!)]?$/)
  }
  expectNoSecrets(JSON.stringify(findings), world, { env, canaries: [SECRET] })
  return findings
}

const failed = (findings: Finding[]): string[] =>
  findings.filter(({ ok, skipped }) => !ok && !skipped).map(({ check, code }) => `${check}: ${code}`)
const skipped = (findings: Finding[]): string[] => findings.flatMap((one) => (one.skipped ? [one.check] : []))
const detailsOf = (findings: Finding[], check: string): string[] =>
  findings.find((finding) => finding.check === check)?.details ?? []
const notesOf = (findings: Finding[], check: string): string =>
  (findings.find((finding) => finding.check === check)?.notes ?? []).join('\n')

test('nothing is found where all is well', async () => {
  const findings = await findAll()
  expect(failed(findings)).toEqual([])
  expect(findings.map(({ check }) => check)).toEqual(
    expect.arrayContaining(['environment', 'policy', 'agent key', 'trust file', 'state folder', 'bucket', 'clocks']),
  )
  expect(findings.find(({ check }) => check === 'route production to staging')?.text).toMatch(
    /^PostgreSQL \d+ to \d+; a swap of all tables takes some .+ whose free space SQL cannot show$/,
  )
})

describe('configuration', () => {
  test('every wrong variable is told at once, and what does without them is checked all the same', async () => {
    const findings = await findAll({
      AGENT_ID: 'No Agent',
      S3_BUCKET: '',
      S3_ENDPOINT: SECRET,
      SAME_DATABASE_URL: '',
      PRODUCTION_DATABASE_URL: `https://${SECRET}@example.com`,
      TYPESENSE_HOST: 'search.example.com',
      CONTROL_PLANE_URL: 'http://127.0.0.1:1',
    })
    expect(failed(findings)).toEqual([
      'environment: config-invalid',
      'order keys: key-missing',
      'control plane: control-plane-unreachable',
    ])
    expect(detailsOf(findings, 'environment').map((detail) => detail.split(/[: ]/)[0])).toEqual([
      'AGENT_ID',
      'S3_ENDPOINT',
      'S3_BUCKET',
      'PRODUCTION_DATABASE_URL',
      'SAME_DATABASE_URL',
      'TYPESENSE_API_KEY',
    ])
    expect(skipped(findings)).toEqual(['bucket', 'production', 'same'])
    expect(findings.filter(({ ok }) => ok).map(({ check }) => check)).toContain('staging as target')
  })

  test('a variable that is misspelled is named', async () => {
    const findings = await findAll({ AGENT_STATEDIR: '/somewhere', S3_PREFIX: 'mbs' })
    expect(failed(findings)).toEqual([])
    expect(notesOf(findings, 'environment')).toBe('nothing reads AGENT_STATEDIR: look whether it is misspelled')
  })

  test.each([
    ['policy', 'agent.yaml', 'config-invalid', 'bucket'],
    ['agent key', 'agent.key.json', 'key-missing', 'staging as target'],
    ['trust file', 'trust.json', 'key-missing', 'staging as target'],
  ])('a missing %s is one finding, and the rest is checked', async (check, name, code, other) => {
    const [path, aside] = [join(world.dir, name), join(world.dir, 'aside')]
    await rename(path, aside)
    try {
      const findings = await findAll()
      expect(failed(findings)).toEqual([`${check}: ${code}`])
      expect(findings.filter(({ ok }) => ok).map((finding) => finding.check)).toContain(other)
    } finally {
      await rename(aside, path)
    }
  })

  test('a policy with several mistakes tells them all, and the command exits with 2', async () => {
    await world.writePolicy(`${POLICY}  - { from: production, to: nowhere }\n  - { from: same, to: production }\n`)
    try {
      const findings = await findAll()
      expect(failed(findings)).toEqual(['policy: config-invalid'])
      expect(detailsOf(findings, 'policy')).toHaveLength(3)
      const run = await world.agent(['doctor'])
      expect(run.code).toBe(2)
      expect(run.stdout).toMatch(/^FAIL {2}policy: config-invalid: .+\.\n( {8}- routes.+\n){3} {6}hint: /m)
      expect(run.stdout).toMatch(/^ok {4}bucket: /m)
      expect(run.stdout).toMatch(/\n1 check failed\.\n$/)
    } finally {
      await world.writePolicy(POLICY)
    }
  })
})

describe('clocks', () => {
  test('a clock of this machine that is wrong is told for every other clock', async () => {
    const findings = await (async () => {
      const RealDate = Date
      const shiftMs = -300_000
      class LateDate extends RealDate {
        constructor(...args: unknown[]) {
          if (args.length === 0) super(RealDate.now() + shiftMs)
          else super(...(args as [number]))
        }
        static override now(): number {
          return RealDate.now() + shiftMs
        }
      }
      globalThis.Date = LateDate as DateConstructor
      try {
        return await findAll()
      } finally {
        globalThis.Date = RealDate
      }
    })()
    expect(failed(findings)).toEqual(['clocks: clock-skew'])
    const details = detailsOf(findings, 'clocks')
    expect(details.map((detail) => detail.split(':')[0])).toEqual(
      expect.arrayContaining(['the object store', 'the server of production', 'the server of staging']),
    )
    for (const detail of details) expect(detail).toMatch(/: (299|300|301) s ahead of this machine$/)
    expect(findings.find(({ check }) => check === 'clocks')?.hint).toContain('all of them')
  })
})

describe('PostgreSQL', () => {
  /** A role of its own, its URL, and its end. */
  async function weakRole(database: TestDatabase): Promise<AsyncDisposable & { role: string; url: string }> {
    const client = await database.client()
    const role = `weak_${database.name}_${Math.random().toString(36).slice(2, 6)}`
    await client.query(`create role ${role} login password '${SECRET}'`)
    const url = new URL(database.url)
    url.username = role
    url.password = SECRET
    return {
      role,
      url: url.href,
      [Symbol.asyncDispose]: async () => {
        await client.query(`drop owned by ${role}`)
        await client.query(`drop role ${role}`)
      },
    }
  }

  test('rights that lack to read a source are told all at once, and gone when they are given', async () => {
    await using weak = await weakRole(world.source)
    const env = { PRODUCTION_DATABASE_URL: weak.url }
    const findings = await findAll(env)
    expect(failed(findings)).toEqual(['production as source: permission-denied'])
    expect(detailsOf(findings, 'production as source')).toEqual([
      'usage on schema parts is missing',
      'select on sequence public.note_id_seq is missing',
      'select on table parts."Component" is missing',
      'select on table public.note is missing',
    ])
    const client = await world.source.client()
    await client.query(`grant usage on schema parts to ${weak.role};
      grant select on all tables in schema public, parts to ${weak.role};
      grant select on all sequences in schema public to ${weak.role}`)
    expect(failed(await findAll(env))).toEqual([])
  })

  test('rights that lack to change a target are told all at once, and gone when they are given', async () => {
    await using database = await createDatabase({ sql: SQL })
    await using weak = await weakRole(database)
    const env = { STAGING_DATABASE_URL: weak.url }
    await world.writePolicy(POLICY.replace('staging: { role: both }', 'staging: { role: target }'))
    try {
      const findings = await findAll(env)
      expect(failed(findings)).toEqual(['staging as target: permission-denied'])
      expect(detailsOf(findings, 'staging as target')).toEqual([
        `create on database ${database.name} is missing`,
        'create and usage on schema parts are not both there',
        'create and usage on schema public are not both there',
        `table parts."Component" belongs to postgres, whose rights the agent's role does not have`,
        `table public.note belongs to postgres, whose rights the agent's role does not have`,
      ])
      const client = await database.client()
      await client.query(`grant create on database ${database.name} to ${weak.role};
        grant usage, create on schema public, parts to ${weak.role};
        alter table parts."Component" owner to ${weak.role}; alter table public.note owner to ${weak.role}`)
      expect(failed(await findAll(env))).toEqual([])
    } finally {
      await world.writePolicy(POLICY)
    }
  })

  test('a pooler is found by its process ids, and behind via_proxy by sessions that do not keep their connection', async (context) => {
    const program = await findPgBouncer()
    if ('reason' in program) return context.skip(program.reason)
    await using pooler = await startPgBouncer(world.target.url)
    const env = { STAGING_DATABASE_URL: pooler.url(world.target.url) }
    const both = ['staging as source: database-pooler', 'staging as target: database-pooler']
    expect(failed(await findAll(env))).toEqual(both)
    await world.writePolicy(POLICY.replace('staging: { role: both }', 'staging: { role: both, via_proxy: true }'))
    try {
      const findings = await findAll(env)
      expect(failed(findings)).toEqual(both)
      expect(findings.find(({ code }) => code === 'database-pooler')?.hint).toContain('via_proxy')
      expect(failed(await findAll())).toEqual([])
    } finally {
      await world.writePolicy(POLICY)
    }
  })

  test('a target that is older than its source is found by the route', async () => {
    await using old = await startPostgres({ major: 13 })
    const findings = await findAll({ STAGING_DATABASE_URL: old.url('postgres') })
    expect(failed(findings)).toEqual(['route production to staging: target-older'])
  })

  test('a server before PostgreSQL 13 is refused', async () => {
    const { hostname: host, port } = new URL(world.target.url)
    await using proxy = await startChaosProxy({ target: { host, port: Number(port) } })
    // Of the same length, so that nothing else of the answer changes.
    proxy.rewrite((bytes) => Buffer.from(bytes.toString('latin1').replace(/\b1[3-9]00\d\d\b/g, '120022'), 'latin1'))
    const findings = await findAll({ SAME_DATABASE_URL: proxy.url(world.target.url) })
    expect(failed(findings)).toEqual(['same as target: database-version'])
  })
})

describe('the bucket', () => {
  test.each([
    ['s3:ListBucket', 'listing archives'],
    ['s3:PutObject', 'writing archives'],
    ['s3:GetObject', 'reading archives'],
    ['s3:ListBucketMultipartUploads', 'finding open uploads'],
    ['s3:AbortMultipartUpload', 'ending uploads that failed'],
  ])('a key without %s is found, by that name', async (right, doing) => {
    world.store.deny(right)
    try {
      const findings = await findAll()
      expect(failed(findings)).toEqual(['bucket: storage-auth'])
      expect(detailsOf(findings, 'bucket')).toEqual([`${right}: ${doing}`])
    } finally {
      world.store.deny()
    }
  })

  test('several rights that lack are told together, and probing leaves no upload', async () => {
    world.store.deny('s3:GetObject', 's3:AbortMultipartUpload')
    try {
      expect(detailsOf(await findAll(), 'bucket')).toHaveLength(2)
    } finally {
      world.store.deny()
    }
    expect(await world.store.openUploads(world.bucket)).toEqual([])
  })

  test('one that keeps no versions, or does not tell, is a note and no failure', async () => {
    expect(notesOf(await findAll(), 'bucket')).toContain('keeps no versions')
    world.store.deny('s3:GetBucketVersioning')
    const hidden = await findAll()
    world.store.deny()
    expect([failed(hidden), notesOf(hidden, 'bucket')]).toEqual([[], expect.stringContaining('cannot be seen')])
    const run = await world.agent(['doctor'])
    expect([run.code, run.stdout]).toEqual([0, expect.stringMatching(/^ok {4}bucket: .+\n {6}note: .+ versions/m)])
    await world.store.createBucket('versioned')
    world.store.sayVersioned('versioned')
    expect(notesOf(await findAll({ S3_BUCKET: 'versioned' }), 'bucket')).toBe('')
  })
})

describe('disk', () => {
  test('a state folder without room is found', async (context) => {
    const disk = await openSmallDisk(8_000_000)
    if (typeof disk === 'string') return context.skip(disk)
    await using small = disk
    const findings = await findAll({ AGENT_STATE_DIR: join(small.folder, 'state') })
    expect(failed(findings)).toEqual(['state folder: disk-full'])
  })
})

describe('search', () => {
  test('a search server that nobody reaches, and one that is not named, are found', async () => {
    await world.writePolicy(
      `${POLICY}collections:\n  notes: { database: staging, from: public.note, fields: [{ name: text, type: string, optional: true }] }\n`,
    )
    try {
      const away = { TYPESENSE_HOST: 'http://127.0.0.1:1', TYPESENSE_API_KEY: SECRET }
      expect(failed(await findAll(away))).toEqual(['search server: search-unreachable'])
      expect(failed(await findAll())).toEqual(['search server: search-not-configured'])
    } finally {
      await world.writePolicy(POLICY)
    }
  })
})

describe('the control plane', () => {
  test('keys that are not known to each other are found on either side', async () => {
    await using control = await openControl(world)
    expect(failed(await findAll(control.env))).toEqual([])
    const { publicKey } = await generateKeyPair('EdDSA', { crv: 'Ed25519' })
    await writeTrust(world.dir, [await exportJWK(publicKey)])
    const untrusted = await findAll(control.env)
    expect(failed(untrusted)).toEqual(['control plane: order-unknown-key'])
    const stranger = await findAll({ ...control.env, AGENT_ID: 'stranger' })
    expect(failed(stranger)).toEqual(['control plane: unauthorized'])
    await writeTrust(world.dir, [])
  })

  test('one that speaks another version of the protocol is found', async () => {
    const body = JSON.stringify({
      type: 'about:blank',
      title: 'There is no such path.',
      status: 404,
      code: 'not-found',
    })
    const other = createServer((request, response) => {
      const isHealth = request.url === '/healthz'
      response.writeHead(isHealth ? 200 : 404, {
        'content-type': isHealth ? 'application/json' : 'application/problem+json',
      })
      response.end(isHealth ? '{"ok":true}' : body)
    }).listen(0, '127.0.0.1')
    await once(other, 'listening')
    const address = other.address()
    const port = address !== null && typeof address === 'object' ? address.port : 0
    const findings = await findAll({ CONTROL_PLANE_URL: `http://127.0.0.1:${port}` })
    other.close()
    expect(failed(findings)).toEqual(['order keys: key-missing', 'control plane: control-plane-refused'])
    expect(findings.find(({ code }) => code === 'control-plane-refused')?.hint).toContain('Upgrade the control plane')
  })

  test('a state folder that is a file is found', async () => {
    await writeFile(join(world.dir, 'a-file'), '')
    expect(failed(await findAll({ AGENT_STATE_DIR: join(world.dir, 'a-file', 'state') }))).toEqual([
      'state folder: config-invalid',
    ])
  })
})
