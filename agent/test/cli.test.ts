import { rename, rm, writeFile } from 'node:fs/promises'
import { createServer } from 'node:http'
import { once } from 'node:events'
import { join } from 'node:path'
import { startChaosProxy } from '@multiboard-sync/shared/testing/chaos-proxy'
import { createDatabase } from '@multiboard-sync/shared/testing/test-database'
import { exportJWK, generateKeyPair } from 'jose'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { startControlPlane } from '../../control-plane/src/start-control-plane.ts'
import { runDoctor, type Finding } from '../src/cli/doctor.ts'
import { readEnv } from '../src/env.ts'
import { openContext } from '../src/open-context.ts'
import { expectNoSecrets, expectSentence } from './road/refusal.ts'
import { openWorld, POLICY, writeTrust, type AgentRun, type World } from './road/world.ts'

/* The command line as its user sees it: what it prints where, for people and for programs, and how it exits. */

const SQL = `
create table public."Component" (id int primary key, name text not null);
insert into public."Component" select n, 'canary-row-' || n from generate_series(1, 5) n;`

let world: World
beforeAll(async () => {
  world = await openWorld({ source: { sql: SQL } })
})
afterAll(async () => await world[Symbol.asyncDispose]())

const SYNC = ['sync', '--from', 'production', '--to', 'staging']
/** Once the target has the tables. */
const AGAIN = [...SYNC, '--engine', 'truncate']
const wrongPassword = (): Record<string, string> => {
  const url = new URL(world.target.url)
  url.password = 'canary-pw-1'
  return { STAGING_DATABASE_URL: url.href }
}

/** What every run promises, whatever its end. */
function expectClean(run: AgentRun, env: Record<string, string> = {}): void {
  expectNoSecrets(run.stdout + run.stderr, world, { env, canaries: ['canary-row', 'canary-pw-1'] })
  expect(run.stdout + run.stderr, 'no stack trace').not.toMatch(/^\s+at |node:internal|Warning/m)
}

describe('exit 0', () => {
  test('is for success: people read what was proven and where the archive lies', async () => {
    const run = await world.agent(SYNC)
    expectClean(run)
    expect(run.code).toBe(0)
    expect(run.stdout).toMatch(/^sync succeeded in /)
    expect(run.stdout).toMatch(/^archive +\d{8}T\d{6}Z-production-\w{4} /m)
    expect(run.stdout).toMatch(/^proven +5 rows in 1 table, /m)
    expect(run.stderr).toMatch(/^preflight\nloading\n/)
  })

  test('is for success: programs read one object on the last line, and standard error is silent', async () => {
    const run = await world.agent([...AGAIN, '--json'])
    expectClean(run)
    expect([run.code, run.stderr]).toEqual([0, ''])
    expect(run.stdout.trim().split('\n')).toHaveLength(1)
    expect(Object.keys(run.json ?? {})).toEqual(
      'outcome code message hint details job kind engine archive safety_backup target_state tables rows bytes seconds peak_rss_mb undoable late_writes proof search'.split(
        ' ',
      ),
    )
    expect(run.json).toMatchObject({
      outcome: 'succeeded',
      code: null,
      engine: 'truncate',
      target_state: 'changed',
      rows: 5,
    })
  })

  test('is for a plan that could be carried out, of which nothing is done', async () => {
    const keys = await world.store.keys(world.bucket)
    const forPrograms = await world.agent([...AGAIN, '--dry-run', '--json'])
    expect(forPrograms.json).toMatchObject({
      kind: 'sync',
      engine: 'truncate',
      source: 'production',
      target: 'staging',
    })
    const forPeople = await world.agent([...AGAIN, '--dry-run'])
    expect(forPeople.stdout).toMatch(/^sync production -> staging\nengine +truncate: /)
    expect([forPrograms.code, forPeople.code]).toEqual([0, 0])
    expect(await world.store.keys(world.bucket)).toEqual(keys)
  })

  test('is for archives that are listed and shown, and for help', async () => {
    const list = await world.agent(['archives', '--json'])
    const [id] = /\d{8}T\d{6}Z-production-\w{4}/.exec(JSON.stringify(list.json?.['archives'])) ?? ['no archive']
    expect((await world.agent(['archives'])).stdout).toContain(id)
    const show = await world.agent(['archives', 'show', id])
    expect(show.stdout).toMatch(/^public\.Component +5 rows /m)
    expect((await world.agent(['--help'])).stdout).toMatch(/usage: pnpm agent/)
    expectClean(show)
  })
})

describe('exit 1', () => {
  test('is for what failed, with code, reason and hint', async () => {
    const env = wrongPassword()
    const people = await world.agent(SYNC, env)
    expect(people.code).toBe(1)
    expect(people.stdout).toMatch(
      /^sync failed in \d+ s\ndatabase-auth: .+\.\nhint: .+\nThe target was not touched\.\n$/,
    )
    const programs = await world.agent([...SYNC, '--json'], env)
    expect([programs.code, programs.stderr]).toEqual([1, ''])
    expect(programs.json).toMatchObject({ outcome: 'failed', code: 'database-auth', target_state: 'untouched' })
    for (const run of [people, programs]) expectClean(run, env)
  })
})

describe('exit 2', () => {
  test.each([
    ['no option that is known', ['doctor', '--colour']],
    ['a pattern that is none', [...SYNC, '--tables', 'a.b.c']],
  ])('is for a command line with %s', async (_, args) => {
    const people = await world.agent(args)
    expect(people.code).toBe(2)
    expect(people.stderr).toMatch(/^usage: .+\.\n( {2}- .+\n)*hint: .+--help.+\n$/)
    const programs = await world.agent([...args, '--json'])
    expect(programs.code).toBe(2)
    expect(programs.json).toMatchObject({ outcome: 'failed', code: 'usage', target_state: 'untouched' })
    for (const run of [people, programs]) expectClean(run)
  })

  test('is for an environment that is not complete, with everything that is missing', async () => {
    const env = { S3_BUCKET: '', S3_ACCESS_KEY_ID: '', S3_ENDPOINT: 'canary-pw-1' }
    const run = await world.agent(['archives'], env)
    expectClean(run, env)
    expect(run.code).toBe(2)
    expect(run.stderr).toMatch(
      /^config-invalid: .+\.\n  - S3_ENDPOINT: .+\n  - S3_BUCKET is not set\n  - S3_ACCESS_KEY_ID is not set\nhint: /,
    )
  })

  test('is for a policy that is wrong, with every mistake at once and no value', async () => {
    const cases: [string, string[]][] = [
      ['databases: [canary-pw-1', ['line 1']],
      [
        `
databases:
  production: { role: canary-pw-1, password: canary-pw-1 }
  Staging: { role: target }
routes: [{ from: production, to: staging, tables: { include: [a.b.c] }, max_row_drop_pct: 101 }]
verify: canary-pw-1
surprise: canary-pw-1`,
        ['production.role', '"password"', 'Staging', 'include.0', 'max_row_drop_pct', 'verify', '"surprise"'],
      ],
      [
        `${POLICY}  - { from: production, to: nowhere }\n  - { from: same, to: production }\n`,
        [
          'routes.2: no database is named "nowhere"',
          'routes.3: "same" has the role target',
          'routes.3: "production" has the role source',
        ],
      ],
    ]
    for (const [yaml, findings] of cases) {
      await world.writePolicy(yaml)
      const run = await world.agent(['archives', '--json'])
      expectClean(run)
      expect(run.code).toBe(2)
      expect(run.json).toMatchObject({ code: 'config-invalid' })
      const details = JSON.stringify(run.json?.['details'])
      for (const finding of findings) expect(details).toContain(JSON.stringify(finding).slice(1, -1))
    }
    await world.writePolicy(POLICY)
  })

  test.each([
    ['policy file', 'agent.yaml', 'config-invalid'],
    ['key file', 'agent.key.json', 'key-missing'],
    ['trust file', 'trust.json', 'key-missing'],
  ])('is for a missing %s', async (_, name, code) => {
    const [path, aside] = [join(world.dir, name), join(world.dir, 'aside')]
    await rename(path, aside)
    try {
      const run = await world.agent(['archives'])
      expect(run.code).toBe(2)
      expect(run.stderr).toMatch(new RegExp(`^${code}: .+\\.\\nhint: .+\\n$`))
      expectClean(run)
    } finally {
      await rename(aside, path)
    }
  })

  test('is for a daemon without a control plane, and for a URL that is not set', async () => {
    expect(await world.agent(['run'])).toMatchObject({ code: 2 })
    const run = await world.agent([...SYNC, '--json'], { STAGING_DATABASE_URL: '' })
    expect(run.code).toBe(2)
    expect(run.json).toMatchObject({ outcome: 'failed', code: 'config-invalid' })
    expect(run.json?.['hint']).toContain('STAGING_DATABASE_URL')
  })
})

describe('exit 3', () => {
  test('is for what was refused before it began', async () => {
    const args = [...SYNC, '--tables', 'component']
    const people = await world.agent(args)
    expect(people.code).toBe(3)
    expect(people.stdout).toMatch(
      /^sync refused in .+\ntable-unknown: .+\.\nhint: Did you mean public\.Component\?\nThe target was not touched\.\n$/,
    )
    const programs = await world.agent([...args, '--json'])
    expect([programs.code, programs.stderr]).toEqual([3, ''])
    expect(programs.json).toMatchObject({ outcome: 'refused', code: 'table-unknown', target_state: 'untouched' })
    for (const run of [people, programs]) expectClean(run)
  })
})

describe('exit 3 of undo', () => {
  test('is for a target that no job has changed', async () => {
    const people = await world.agent(['undo', '--to', 'same'])
    expectClean(people)
    expect([people.code, people.stdout]).toEqual([3, ''])
    expect(people.stderr).toMatch(/^nothing-to-undo: No job has changed "same"\.\nhint: .+\n$/)
    const programs = await world.agent(['undo', '--to', 'same', '--json'])
    expect(programs.json).toMatchObject({ outcome: 'refused', code: 'nothing-to-undo', target_state: 'untouched' })
  })
})

describe('doctor', () => {
  const doctor = async (env: Record<string, string> = {}): Promise<{ isWell: boolean; failed: Finding[] }> => {
    const findings: Finding[] = []
    const settings = readEnv({ ...world.env, ...env })
    await using opened = await openContext(settings)
    const signal = AbortSignal.timeout(60_000)
    const isWell = await runDoctor(opened, settings.CONTROL_PLANE_URL, signal, (finding) => findings.push(finding))
    const failed = findings.filter((finding) => !finding.ok)
    for (const { text, hint } of failed) {
      expectSentence(text)
      expect(hint).toMatch(/^\S.{10,}/)
    }
    expectNoSecrets(JSON.stringify(findings), world, { env, canaries: ['canary-pw-1'] })
    return { isWell, failed }
  }
  const codes = async (env: Record<string, string> = {}) =>
    (await doctor(env)).failed.map(({ check, code }) => `${check}: ${code}`)

  test('finds nothing where all is well, and exits 0; else names each failure and exits 1', async () => {
    const well = await world.agent(['doctor'])
    expect(well.code).toBe(0)
    expect(well.stdout).toMatch(/^ok {4}bucket: /m)
    expect(well.stdout).toMatch(/All is well\.\n$/)
    const ill = await world.agent(['doctor', '--json'], wrongPassword())
    expect(ill.code).toBe(1)
    expect(ill.json).toEqual({ ok: false, failed: 2 })
    for (const run of [well, ill]) expectClean(run)
  })

  test('finds databases that cannot be used', async () => {
    expect(await codes(wrongPassword())).toEqual([
      'staging as source: database-auth',
      'staging as target: database-auth',
    ])
    expect(await codes({ SAME_DATABASE_URL: 'postgres://u:canary-pw-1@127.0.0.1:1/x' })).toEqual([
      'same as target: database-unreachable',
    ])
    expect(await codes({ SAME_DATABASE_URL: '' })).toEqual(['same as target: config-invalid'])
    const readOnly = { SAME_DATABASE_URL: `${world.target.url}?options=-c%20default_transaction_read_only%3Don` }
    expect(await codes(readOnly)).toEqual(['same as target: database-read-only'])
    const { hostname: host, port } = new URL(world.target.url)
    await using proxy = await startChaosProxy({ target: { host, port: Number(port) } })
    proxy.rewrite((bytes) => {
      const at = bytes.indexOf(Buffer.from([0x4b, 0, 0, 0, 12]))
      if (at >= 0) bytes.writeInt32BE(bytes.readInt32BE(at + 5) + 1, at + 5)
      return bytes
    })
    expect(await codes({ SAME_DATABASE_URL: proxy.url(world.target.url) })).toEqual(['same as target: database-pooler'])
  })

  test('finds a role that may not create schemas, a publication of everything, and a job at work', async () => {
    await using database = await createDatabase()
    const client = await database.client()
    const role = `weak_${database.name}`
    await client.query(`create role ${role} login password 'canary-pw-1'`)
    try {
      const url = new URL(database.url)
      url.username = role
      url.password = 'canary-pw-1'
      expect(await codes({ SAME_DATABASE_URL: url.href })).toEqual(['same as target: permission-denied'])
    } finally {
      await client.query(`drop role ${role}`)
    }
    await client.query('create publication everything for all tables')
    expect(await codes({ SAME_DATABASE_URL: database.url })).toEqual(['same as target: unsupported-object'])
    await client.query('drop publication everything')
    await client.query('select pg_advisory_lock($1, $2)', [0x6d627331, 0x73796e63])
    expect(await codes({ SAME_DATABASE_URL: database.url })).toEqual(['same as target: target-busy'])
  })

  test('finds a bucket that cannot be used', async () => {
    expect(await codes({ S3_BUCKET: 'elsewhere' })).toEqual(['bucket: bucket-missing'])
    expect(await codes({ S3_SECRET_ACCESS_KEY: 'canary-pw-1' })).toEqual(['bucket: storage-auth'])
  })

  test('finds a state folder that cannot be written to', async () => {
    const file = join(world.dir, 'a-file')
    await writeFile(file, '')
    expect(await codes({ AGENT_STATE_DIR: join(file, 'state') })).toEqual(['state folder: config-invalid'])
    await rm(file)
  })

  test('finds a control plane that is away, does not know this agent, or has another time', async () => {
    await using database = await createDatabase()
    const { privateKey, publicKey } = await generateKeyPair('EdDSA', { crv: 'Ed25519', extractable: true })
    const adminToken = 'an-admin-token-for-tests-0123456789'
    await using control = await startControlPlane({
      databaseUrl: database.url,
      signingKey: await exportJWK(privateKey),
      adminToken,
      lease: { leaseMs: 90_000, graceMs: 30_000 },
      host: '127.0.0.1',
      port: 0,
      log: () => undefined,
    })
    const env = { CONTROL_PLANE_URL: control.url }
    expect(await codes(env)).toEqual(['order keys: key-missing', 'control plane: unauthorized'])
    await writeTrust(world.dir, [await exportJWK(publicKey)])
    const registered = await fetch(`${control.url}/v1/agents`, {
      method: 'POST',
      headers: { authorization: `Bearer ${adminToken}`, 'content-type': 'application/json' },
      body: JSON.stringify({ id: 'vps1', public_jwk: world.agentPublicJwk }),
    })
    expect(registered.status).toBe(201)
    expect(await codes(env)).toEqual([])
    expect(await codes({ CONTROL_PLANE_URL: 'http://127.0.0.1:1' })).toEqual([
      'control plane: control-plane-unreachable',
    ])

    const late = createServer((_, response) => {
      response.setHeader('date', new Date(Date.now() - 120_000).toUTCString()).end('{}')
    }).listen(0, '127.0.0.1')
    await once(late, 'listening')
    const address = late.address()
    const port = address !== null && typeof address === 'object' ? address.port : 0
    expect(await codes({ CONTROL_PLANE_URL: `http://127.0.0.1:${port}` })).toEqual(['control plane: clock-skew'])
    late.close()
    await writeTrust(world.dir, [])
  })
})
