import { mkdtemp, readdir, readFile, rm, stat } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseEnv } from 'node:util'

import { afterAll, beforeAll, expect, test } from 'vitest'

import { readKey } from '../../agent/src/config/read-key.ts'
import { readPolicy } from '../../agent/src/config/read-policy.ts'
import { agentEnvSchema } from '../../agent/src/env-schema.ts'
import { readEnv as readAgentEnv } from '../../agent/src/env.ts'
import { readTrustFile } from '../../agent/src/verify/trust-file.ts'
import { controlPlaneEnvSchema } from '../../control-plane/src/env-schema.ts'
import { readEnv as readControlPlaneEnv } from '../../control-plane/src/env.ts'
import { makeOrderSigner } from '../../control-plane/src/orders/order-signer.ts'
import { makeKeys, type MadeKeys } from '../../scripts/make-keys.ts'
import { screenLines } from '../../scripts/terminal-picture.ts'

const place = (path: string) => fileURLToPath(new URL(`../../${path}`, import.meta.url))

let folder: string
let keys: MadeKeys

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'keys-'))
  keys = await makeKeys(folder)
})

afterAll(async () => await rm(folder, { recursive: true, force: true }))

test('.env.example names every variable that is read, and no other', async () => {
  const named = Object.keys(parseEnv(await readFile(place('.env.example'), 'utf8')))
  const read = [...Object.keys(agentEnvSchema.shape), ...Object.keys(controlPlaneEnvSchema.shape)]
  // Of all variables that can be given as a file, the signing key alone is shown so: that is how keys are made.
  const ours = new Set([...read, 'SIGNING_KEY_FILE', 'PRODUCTION_DATABASE_URL', 'STAGING_DATABASE_URL'])
  expect(named.toSorted()).toEqual([...ours].toSorted())
})

test('The agent and the control plane accept .env.example as it stands', async () => {
  const env = parseEnv(await readFile(place('.env.example'), 'utf8'))
  expect(readAgentEnv(env)).toMatchObject({ S3_BUCKET: 'archives', S3_PREFIX: '', S3_FORCE_PATH_STYLE: false })
  const config = readControlPlaneEnv({ ...env, SIGNING_KEY_FILE: keys.controlPlaneKeyFile })
  expect(config).toMatchObject({ port: 8787, lease: { leaseMs: 90_000, graceMs: 30_000 } })
})

test('agent.example.yaml is a valid policy, whose databases .env.example gives URLs', async () => {
  const { policy } = await readPolicy(place('agent.example.yaml'))
  expect(policy.databases['production']).toMatchObject({ role: 'source', protected: true })
  const env = readAgentEnv(parseEnv(await readFile(place('.env.example'), 'utf8')))
  for (const name of Object.keys(policy.databases))
    expect(env.databaseUrl(`${name.toUpperCase()}_DATABASE_URL`)).toBeTruthy()
})

test('Keys that are made fit together, and only their owner can read them', async () => {
  const signer = await makeOrderSigner(JSON.parse(await readFile(keys.controlPlaneKeyFile, 'utf8')))
  const trust = await readTrustFile(keys.trustFile)
  expect(trust.orderKids()).toEqual([signer.kid])
  const agent = await readKey(keys.agentKeyFile)
  expect(agent.kid).not.toBe(signer.kid)
  const publicKey = JSON.parse(await readFile(keys.agentPublicFile, 'utf8')) as Record<string, string>
  const privateKey = JSON.parse(await readFile(keys.agentKeyFile, 'utf8')) as Record<string, string>
  expect(publicKey).toEqual({ kty: 'OKP', crv: 'Ed25519', x: privateKey['x'] })
  for (const path of Object.values(keys)) expect((await stat(path as string)).mode & 0o777).toBe(0o600)
})

test('Keys are never overwritten', async () => {
  const before = await Promise.all(
    (await readdir(folder)).map(async (name) => await readFile(join(folder, name), 'utf8')),
  )
  await expect(makeKeys(folder)).rejects.toMatchObject({ code: 'EEXIST' })
  const after = await Promise.all(
    (await readdir(folder)).map(async (name) => await readFile(join(folder, name), 'utf8')),
  )
  expect(after).toEqual(before)
})

test('Where one of the keys is there already, none is made', async () => {
  await rm(keys.trustFile)
  await rm(keys.controlPlaneKeyFile)
  await expect(makeKeys(folder)).rejects.toMatchObject({ code: 'EEXIST', path: keys.agentKeyFile })
  expect((await readdir(folder)).toSorted()).toEqual(['agent.key.json', 'agent.pub.json'])
})

test('A picture shows lines as a terminal left them', () => {
  const recording = 'one\r\n\u001b[1mtwo\u001b[0m\r\u001b[Kthree\r\n\u001b]0;title\u0007abcdef\rxy\r\n'
  expect(screenLines(recording)).toEqual(['one', 'three', 'xycdef'])
})
