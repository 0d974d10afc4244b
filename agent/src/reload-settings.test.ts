import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { calculateJwkThumbprint, exportJWK, generateKeyPair } from 'jose'
import { afterEach, beforeEach, expect, it, vi } from 'vitest'
import { readEnv } from './env.ts'
import { openContext, type OpenedContext } from './open-context.ts'
import { openSettings, type Settings } from './reload-settings.ts'

const POLICY = 'databases:\n  production: { role: source }\n'

let dir: string
let opened: OpenedContext
let settings: Settings
let logged: string

beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'reload-'))
  const { privateKey } = await generateKeyPair('EdDSA', { crv: 'Ed25519', extractable: true })
  await writeFile(join(dir, 'agent.key.json'), JSON.stringify(await exportJWK(privateKey)))
  await writePolicy(POLICY)
  await trustAnother()
  const env = readEnv({
    AGENT_CONFIG: join(dir, 'agent.yaml'),
    AGENT_KEY_FILE: join(dir, 'agent.key.json'),
    TRUST_FILE: join(dir, 'trust.json'),
    S3_BUCKET: 'archive',
    S3_ACCESS_KEY_ID: 'id',
    S3_SECRET_ACCESS_KEY: 'secret',
    STAGING_DATABASE_URL: 'postgres://staging/db',
  })
  opened = await openContext(env)
  settings = openSettings(env, opened)
  logged = ''
  vi.spyOn(process.stderr, 'write').mockImplementation((text) => {
    logged += String(text)
    return true
  })
})

afterEach(async () => {
  vi.restoreAllMocks()
  await opened[Symbol.asyncDispose]()
  await rm(dir, { recursive: true })
})

const writePolicy = async (yaml: string): Promise<void> => await writeFile(join(dir, 'agent.yaml'), yaml)

async function trustAnother(): Promise<string> {
  const { publicKey } = await generateKeyPair('EdDSA', { crv: 'Ed25519', extractable: true })
  const jwk = await exportJWK(publicKey)
  const kid = await calculateJwkThumbprint(jwk)
  await writeFile(join(dir, 'trust.json'), JSON.stringify({ keys: [{ kid, use: 'order', jwk }] }))
  return kid
}

it('G20: a reload takes the new policy and the new keys, and leaves what a running job began with', async () => {
  const before = await settings.current()
  const kid = await trustAnother()
  await writePolicy(`${POLICY}  staging: { role: target }\n`)
  const reloaded = settings.reloaded()
  settings.reload()
  const after = await settings.current()
  expect(reloaded.aborted).toBe(true)
  expect(settings.reloaded().aborted).toBe(false)
  expect(after.trust.orderKids()).toEqual([kid])
  expect(Object.keys(after.context.policy.databases)).toEqual(['production', 'staging'])
  expect(after.context.policySha256).not.toBe(before.context.policySha256)
  expect(after.context.databaseUrl('staging').url).toBe('postgres://staging/db')
  expect(before.context.policy).toEqual(opened.context.policy)
  expect(before.trust.orderKids()).not.toContain(kid)
  expect(() => before.context.databaseUrl('staging')).toThrow('knows no database')
  expect(logged).toContain(`"order_keys":["${kid}"]`)
})

it.each([
  ['is not JSON', async () => await writeFile(join(dir, 'trust.json'), '{')],
  ['is gone', async () => await rm(join(dir, 'trust.json'))],
])('G20: a trust file that %s leaves the keys in force and is told with a hint', async (_what, breakIt) => {
  const kids = opened.trust.orderKids()
  await breakIt()
  await writePolicy(`${POLICY}  staging: { role: target }\n`)
  settings.reload()
  const after = await settings.current()
  expect(after.trust.orderKids()).toEqual(kids)
  expect(Object.keys(after.context.policy.databases), 'the other file counts').toContain('staging')
  expect(logged).toMatch(/"level":"error".*trust file.*stays in force.*"file":".*trust\.json".*"hint":".*SIGHUP again/)
})

it('a policy that is not right leaves the old one in force, and a key is revoked all the same', async () => {
  const { policySha256 } = opened.context
  await writePolicy('databases: [')
  await writeFile(join(dir, 'trust.json'), '{"keys":[]}')
  settings.reload()
  const after = await settings.current()
  expect(after.context.policySha256).toBe(policySha256)
  expect(after.trust.orderKids()).toEqual([])
  expect(logged).toMatch(/"level":"error".*agent\.yaml.*stays in force.*"details":\["line 1/)
})
