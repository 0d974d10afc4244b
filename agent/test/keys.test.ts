import { mkdir, readdir, readFile, rename, stat, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { proveKey } from '@multiboard-sync/shared/agent-key'
import { signRequest } from '@multiboard-sync/shared/signed-request'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { openContext } from '../src/open-context.ts'
import { checkControlPlane } from '../src/cli/check-control-plane.ts'
import { enrollCommand } from '../src/cli/key-commands.ts'
import { readArchive } from '../src/cli/list-archives.ts'
import { parseCommand } from '../src/cli/parse-command.ts'
import { keyFiles, readKey } from '../src/config/read-key.ts'
import { makeKeyFile, promoteNextKey, rememberFormerKey } from '../src/config/write-key.ts'
import { enroll } from '../src/enroll.ts'
import { readEnrollEnv, readEnv } from '../src/env.ts'
import { rotateKey } from '../src/rotate-key.ts'
import { openControl, type Control } from './road/control.ts'
import { runJobHere } from './road/values-job.ts'
import { openWorld, type World } from './road/world.ts'

/* The agent's own key: how it is made, made known, exchanged, and what was signed with it before. */

let world: World
let control: Control
beforeAll(async () => {
  world = await openWorld({
    source: { sql: 'create table public.part (id int primary key); insert into part values (1)' },
  })
  control = await openControl(world)
})
afterAll(async () => {
  await control[Symbol.asyncDispose]()
  await world[Symbol.asyncDispose]()
})

/** An agent of its own beside the world's, with no key yet. */
async function newcomer(agent: string): Promise<{ env: Record<string, string>; key: string; code: string }> {
  const key = join(world.dir, agent, 'agent.key.json')
  const made = await control.call('POST', '/v1/enrollments', { agent })
  expect(made.status).toBe(201)
  return {
    env: { ...control.env, AGENT_ID: agent, AGENT_KEY_FILE: key, AGENT_STATE_DIR: join(world.dir, agent, 'state') },
    key,
    code: String(made.body['code']),
  }
}

const soon = (): AbortSignal => AbortSignal.timeout(30_000)
const enrollHere = async (env: Record<string, string>, code: string) =>
  await enroll(readEnrollEnv({ ...world.env, ...env }), code, '0.1.0', soon())
const rotateHere = async (env: Record<string, string>) =>
  await rotateKey(readEnrollEnv({ ...world.env, ...env }), '0.1.0', soon())

/** Exports here, and answers the archive's id. */
async function exportHere(env: Record<string, string>): Promise<string> {
  const { archive, outcome } = await runJobHere(world, { kind: 'export', source: 'production' }, { env })
  expect(outcome).toBe('succeeded')
  return archive?.id ?? ''
}

async function show(env: Record<string, string>, archive: string): Promise<{ id: string }> {
  await using opened = await openContext(readEnv({ ...world.env, ...env }))
  return await readArchive(opened.context, archive, soon())
}

async function calls(env: Record<string, string>): Promise<{ status: number; code: unknown }> {
  const key = await readKey(env['AGENT_KEY_FILE'] ?? '')
  const [path, body] = ['/v1/agent/archives', '{"archives":[]}']
  const origin = control.env.CONTROL_PLANE_URL
  const authorization = await signRequest({ method: 'POST', path, body, origin }, env['AGENT_ID'] ?? '', key.privateKey)
  const headers = { authorization, 'content-type': 'application/json' }
  const response = await fetch(`${origin}${path}`, {
    method: 'POST',
    body,
    headers,
    signal: AbortSignal.timeout(20_000),
  })
  return { status: response.status, code: ((await response.json()) as { code?: string }).code }
}

test('an agent without a key makes one, is known by it, and says whether it would obey', async () => {
  const { env, key, code } = await newcomer('fresh')
  const trustBefore = await readFile(join(world.dir, 'trust.json'), 'utf8')
  // Nothing of a policy, a bucket or a database is needed yet.
  const first = await world.agent(['enroll', '--code', code, '--json'], {
    ...env,
    AGENT_CONFIG: '/nowhere',
    S3_BUCKET: '',
  })
  expect({ code: first.code, json: first.json }).toMatchObject({
    code: 0,
    json: { agent: 'fresh', made_key: true, trusts_signing_key: true, to_do: [] },
  })
  expect((await stat(key)).mode & 0o777).toBe(0o600)
  expect(first.json?.['kid']).toBe((await readKey(key)).kid)
  expect(await readdir(dirname(key))).toEqual(['agent.key.json'])
  expect((await calls(env)).status).toBe(200)

  // The answer was lost: the same again is told the same, with the same key.
  const before = await readFile(key, 'utf8')
  const elsewhere = readEnrollEnv({ ...world.env, ...env, TRUST_FILE: join(world.dir, 'none.json') })
  const again = await enrollCommand(elsewhere, code, '0.1.0', soon())
  expect(again.text).toMatch(/^enrolled +as fresh$/m)
  expect(again.text).toMatch(/^to do .*not from the network/m)
  expect(await readFile(key, 'utf8')).toBe(before)
  // Whoever answers in the control plane's place cannot make itself trusted.
  expect(await readFile(join(world.dir, 'trust.json'), 'utf8')).toBe(trustBefore)
  expect(await readdir(world.dir)).not.toContain('none.json')
})

test('a code that is none, or no good, leaves a clear word and no agent', async () => {
  const { env } = await newcomer('clumsy')
  const [none, guessed] = ['mbse_short', `mbse_${'x'.repeat(22)}`]
  expect(() => parseCommand(['enroll', '--code', none])).toThrow(expect.objectContaining({ code: 'usage' }))
  expect(() => parseCommand(['enroll'])).toThrow(expect.objectContaining({ code: 'usage' }))
  await expect(enrollHere(env, guessed)).rejects.toMatchObject({
    code: 'enrollment-refused',
    message: expect.not.stringContaining(guessed),
    hint: expect.stringContaining('/v1/enrollments'),
    retryable: false,
  })
  expect((await calls(env)).code).toBe('unauthorized')
  await expect(enrollHere({ ...env, CONTROL_PLANE_URL: '' }, guessed)).rejects.toMatchObject({
    code: 'config-invalid',
    details: ['CONTROL_PLANE_URL is not set'],
  })
})

test('of two that make one key file at once, one does, and the file is whole', async () => {
  const path = join(world.dir, 'twice', 'agent.key.json')
  const made = await Promise.all(Array.from({ length: 20 }, async () => await makeKeyFile(path)))
  expect(made.filter(Boolean)).toHaveLength(1)
  expect((await readKey(path)).kid).toMatch(/^[\w-]{43}$/)
  expect(await readdir(dirname(path))).toEqual(['agent.key.json'])
})

test('after a rotation both keys count for a day, and archives of the former key stay readable here', async () => {
  const { env, key, code } = await newcomer('turning')
  await enrollHere(env, code)
  const archive = await exportHere(env)
  const former = await readKey(key)
  await using daemon = await openContext(readEnv({ ...world.env, ...env }))

  const rotated = await world.agent(['rotate-key', '--json'], env)
  expect({ code: rotated.code, json: rotated.json }).toMatchObject({
    code: 0,
    json: { previous_kid: former.kid, previous_until: expect.any(String) },
  })
  const current = await readKey(key)
  expect(current.kid).toBe(rotated.json?.['kid'])
  expect(current.kid).not.toBe(former.kid)
  expect((await stat(key)).mode & 0o777).toBe(0o600)
  const files = (await readdir(dirname(key))).filter((name) => name.endsWith('.json'))
  expect(files.toSorted()).toEqual(['agent.former.json', 'agent.key.json'])
  expect(await readFile(keyFiles(key).former, 'utf8')).not.toContain('"d"')
  expect((await calls(env)).status).toBe(200)

  expect(await show(env, archive)).toMatchObject({ id: archive })
  // A daemon that still holds the old key reads what a command has signed with the new one.
  const newer = await exportHere(env)
  expect(await readArchive(daemon.context, newer, soon())).toMatchObject({ id: newer })
  await rotateHere(env)
  expect(await show(env, archive)).toMatchObject({ id: archive })
  // Forgotten, the former keys are a stranger's.
  await rename(keyFiles(key).former, `${keyFiles(key).former}.away`)
  await expect(show(env, archive)).rejects.toMatchObject({ code: 'archive-untrusted' })
  await writeFile(keyFiles(key).former, '{"keys":[{"kty":"OKP","crv":"Ed25519","x":"short"}]}')
  await expect(show(env, archive)).rejects.toMatchObject({ code: 'config-invalid' })
})

test('a rotation that ended with its process at any step is finished by the same command', async () => {
  const steps = ['made', 'told', 'a day ago', 'remembered'] as const
  for (const [index, step] of steps.entries()) {
    const { env, key, code } = await newcomer(`crash${index}`)
    await enrollHere(env, code)
    const former = await readKey(key)
    await makeKeyFile(keyFiles(key).next)
    const next = await readKey(keyFiles(key).next)
    if (step !== 'made') await tell(`crash${index}`, former, next)
    if (step === 'a day ago') await endPrevious(`crash${index}`)
    const isTaken = step !== 'a day ago'
    expect((await calls(env)).status).toBe(isTaken ? 200 : 401)
    if (step === 'remembered') await rememberFormerKey(key, former.publicJwk)
    expect({ step, ...(await rotateHere(env)) }).toMatchObject({ step, kid: next.kid, previousKid: former.kid })
    expect((await readKey(key)).kid).toBe(next.kid)
    expect(await (await readKey(key)).findOwnKey(former.kid)).toBeDefined()
    expect((await calls(env)).status).toBe(200)
    expect(await readdir(dirname(key))).not.toContain('agent.next.key.json')
  }
})

async function endPrevious(agent: string): Promise<void> {
  const client = await control.database.client()
  await client.query('update multiboard.agents set previous_until = now() where id = $1', [agent])
  await client.end()
}

async function tell(agent: string, signer: Awaited<ReturnType<typeof readKey>>, next: typeof signer): Promise<void> {
  const [path, origin] = ['/v1/agent/keys', control.env.CONTROL_PLANE_URL]
  const body = JSON.stringify({ public_jwk: next.publicJwk, proof: await proveKey({ agent, origin }, next.privateKey) })
  const authorization = await signRequest({ method: 'POST', path, body, origin }, agent, signer.privateKey)
  const headers = { authorization, 'content-type': 'application/json' }
  const response = await fetch(`${origin}${path}`, {
    method: 'POST',
    body,
    headers,
    signal: AbortSignal.timeout(20_000),
  })
  expect(response.status).toBe(200)
}

test('a key whose folder cannot be written is told before the control plane hears of it', async () => {
  const { env, key, code } = await newcomer('readonly')
  await mkdir(dirname(dirname(key)), { recursive: true })
  await writeFile(dirname(key), 'a file where the folder should be')
  await expect(enrollHere(env, code)).rejects.toMatchObject({ code: 'config-invalid' })
  expect(JSON.stringify((await control.call('GET', '/v1/agents')).body)).not.toContain('"readonly"')
  await expect(promoteNextKey(key)).rejects.toMatchObject({ code: 'config-invalid' })
})

test('doctor tells a revoked agent, an unknown one and a wrong clock apart, and a rotation that was not finished', async () => {
  const { env, key, code } = await newcomer('patient')
  const check = async () => {
    await using opened = await openContext(readEnv({ ...world.env, ...env }))
    return await checkControlPlane(opened, control.env.CONTROL_PLANE_URL, soon())
  }
  await makeKeyFile(key)
  const enrolAgain = { hint: expect.stringContaining('enroll') }
  await expect(check()).rejects.toMatchObject({ code: 'unauthorized', ...enrolAgain })
  await enrollHere(env, code)
  expect(await check()).not.toContain('rotate-key')
  await makeKeyFile(keyFiles(key).next)
  expect(await check()).toContain('run `rotate-key` again')
  await control.call('POST', '/v1/agents/patient/revoke')
  await expect(check()).rejects.toMatchObject({ code: 'agent-revoked', ...enrolAgain })
  for (const [seconds, word] of [
    [-40, 'ahead of'],
    [90, 'behind'],
  ] as const) {
    const date = new Date(Date.now() + seconds * 1000).toUTCString()
    control.rewrite((bytes) =>
      Buffer.from(bytes.toString('latin1').replace(/date: [^\r]+/i, `date: ${date}`), 'latin1'),
    )
    await expect(check()).rejects.toMatchObject({ code: 'clock-skew', message: expect.stringContaining(word) })
  }
  control.rewrite(undefined)
})
