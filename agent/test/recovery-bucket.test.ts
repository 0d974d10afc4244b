import { execFile, spawnSync } from 'node:child_process'
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { promisify } from 'node:util'
import { createDatabase } from '@multiboard-sync/shared/testing/test-database'
import { exportJWK, generateKeyPair } from 'jose'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { z } from 'zod'
import { readCopied, readState } from './road/compare-databases.ts'
import { openWorld, POLICY, writeTrust, type World } from './road/world.ts'
import { keysCommand } from './recovery/plane.ts'

/* Agent and control plane are both gone, with all their keys. The bucket is left, and the right to read it. */

const SQL = `
create table public.part (id int primary key, name text not null);
insert into public.part select n, 'part-' || n from generate_series(1, 500) n;
create view public.named as select name from public.part;
create sequence public.counter;
select setval('public.counter', 42);`

let world: World
let archive = ''
beforeAll(async () => {
  world = await openWorld({ source: { sql: SQL } })
  const exported = await world.agent(['export', '--from', 'production', '--json'])
  expect(exported.code, exported.stdout + exported.stderr).toBe(0)
  archive = z.string().parse(exported.json?.['archive'])
  await rm(world.dir, { recursive: true })
}, 120_000)
afterAll(async () => await world[Symbol.asyncDispose]())

test('a fresh agent with a key of its own restores it, once somebody has said whom to trust', async () => {
  await mkdir(world.dir)
  await world.writePolicy(POLICY)
  const { privateKey } = await generateKeyPair('EdDSA', { crv: 'Ed25519', extractable: true })
  await writeFile(join(world.dir, 'agent.key.json'), JSON.stringify(await exportJWK(privateKey)))
  await writeTrust(world.dir, [])
  const known = await world.agent(['archives', 'keys'])
  const entry = /^ +(\{"kid":.+"use":"archive".+\})$/m.exec(known.stdout)?.[1]
  expect(known.stdout).toContain('NOT TRUSTED')
  // As it is printed, into the trust file.
  await writeFile(join(world.dir, 'trust.json'), `{"keys":[${entry}]}`)
  const restored = await world.agent(['restore', archive, '--to', 'staging', '--json'])
  expect(restored.json).toMatchObject({ outcome: 'succeeded', engine: 'create', rows: 500 })
  expect(await readCopied(world.target.url)).toEqual(await readCopied(world.source.url))
}, 120_000)

test('a key that was put into the archive in place of its own is not told', async () => {
  const { publicKey } = await generateKeyPair('EdDSA', { crv: 'Ed25519' })
  const { x } = await exportJWK(publicKey)
  const key = `mbs/archives/${archive}/RESTORE.txt`
  const recipe = (await world.store.read(world.bucket, key)).toString()
  expect(recipe).toContain('"crv":"Ed25519"')
  const forged = recipe.replace(/"x":"[^"]+"/, `"x":"${x}"`)
  await putObject(key, forged)
  try {
    const known = await world.agent(['archives', 'keys', '--json'])
    expect(known.json).toMatchObject({ keys: [{ public_jwk: null }] })
  } finally {
    await putObject(key, recipe)
  }
}, 60_000)

async function putObject(key: string, text: string): Promise<void> {
  const { PutObjectCommand, S3Client } = await import('@aws-sdk/client-s3')
  const { store, bucket } = world
  const client = new S3Client({
    endpoint: store.endpoint,
    region: store.region,
    forcePathStyle: true,
    credentials: { accessKeyId: store.accessKeyId, secretAccessKey: store.secretAccessKey },
  })
  await client.send(new PutObjectCommand({ Bucket: bucket, Key: key, Body: Buffer.from(text) }))
  client.destroy()
}

const lacking = ['psql', 'gunzip'].filter((command) => spawnSync(command, ['--version']).status !== 0)
if (lacking.length > 0) console.log(`the drill with psql alone is skipped: not on this machine: ${lacking.join(', ')}`)

test.skipIf(lacking.length > 0)(
  'psql alone restores it by the line that stands in RESTORE.txt',
  async () => {
    await using database = await createDatabase()
    const folder = await mkdtemp(join(tmpdir(), 'mbs-restore-'))
    try {
      const prefix = `mbs/archives/${archive}/`
      for (const key of await world.store.keys(world.bucket, prefix)) {
        const path = join(folder, key.slice(prefix.length))
        await mkdir(dirname(path), { recursive: true })
        await writeFile(path, await world.store.read(world.bucket, key))
      }
      const recipe = (await world.store.read(world.bucket, `${prefix}RESTORE.txt`)).toString()
      const line = /^ +(cat 000\* .+ \| psql .+) empty_db$/m.exec(recipe)?.[1]
      await promisify(execFile)('sh', ['-ec', `${line} -X -q "$0"`, database.url], { cwd: folder, timeout: 50_000 })
      const [here, there] = [await readState(database.url), await readState(world.source.url)]
      expect(here.tables).toEqual(there.tables)
      expect(here.sequences).toEqual(there.sequences)
    } finally {
      await rm(folder, { recursive: true })
    }
  },
  120_000,
)

test('the command of the docs trusts a key for archives alone', async () => {
  const [trust, pub] = [join(world.dir, 'other-trust.json'), join(world.dir, 'other.pub.json')]
  const { publicKey } = await generateKeyPair('EdDSA', { crv: 'Ed25519' })
  await writeFile(pub, JSON.stringify(await exportJWK(publicKey)))
  await writeFile(trust, '{"keys":[]}')
  expect(await keysCommand('trust', trust, pub, '--use', 'archive')).toContain('for archives')
  await expect(keysCommand('trust', trust, pub, '--use', 'orders')).rejects.toThrow('--use must be one of')
}, 30_000)
