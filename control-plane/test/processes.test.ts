import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createDatabase } from '@multiboard-sync/shared/testing/test-database'
import { exportJWK, generateKeyPair } from 'jose'
import { afterAll, beforeAll, expect, test, vi } from 'vitest'
import { migrate } from '../src/store/migrate.ts'
import { openDatabase } from '../src/store/open-database.ts'
import { adminToken, answerOf } from './surroundings.ts'

const main = new URL('../src/node.ts', import.meta.url).pathname
const tokens = new URL('../src/run-tokens.ts', import.meta.url).pathname
const RUN_TIMEOUT_MS = 20_000
/** Longer than any test may take: a process that a test waits for is not to be killed under it. */
const KILL_AFTER_MS = 60_000

let folder = ''
let key = ''
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'control-plane-'))
  const { privateKey } = await generateKeyPair('EdDSA', { extractable: true })
  key = JSON.stringify(await exportJWK(privateKey))
  await writeFile(join(folder, 'key.json'), key, { mode: 0o600 })
})
afterAll(async () => await rm(folder, { recursive: true, force: true }))

function start(env: Record<string, string>, program: string = main, args: string[] = []) {
  const child = spawn(process.execPath, ['--disable-warning=ExperimentalWarning', program, ...args], {
    env: { PATH: process.env['PATH'] ?? '', ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
    timeout: KILL_AFTER_MS,
    killSignal: 'SIGKILL',
  })
  const said = { out: '', err: '' }
  child.stdout.setEncoding('utf8').on('data', (text: string) => (said.out += text))
  child.stderr.setEncoding('utf8').on('data', (text: string) => (said.err += text))
  const closed = once(child, 'close')
  const exit = async () => {
    const [code, signal] = await closed
    return { ...said, code, signal }
  }
  return { child, said, exit }
}

test('as a process it says where it listens, answers, and stops when it is asked to', async () => {
  await using database = await createDatabase()
  const env = { DATABASE_URL: database.url, PUBLIC_URL: 'https://sync.example.com', ADMIN_TOKEN: adminToken }
  const { child, exit, said } = start({
    ...env,
    SIGNING_KEY_FILE: join(folder, 'key.json'),
    PORT: '0',
    LOG_LEVEL: 'debug',
  })
  await vi.waitFor(() => expect(said.out).toContain('\n'), { timeout: RUN_TIMEOUT_MS })
  const url = /http:\/\/127\.0\.0\.1:\d+/.exec(said.out)?.[0]
  const response = await fetch(`${url}/healthz`, { signal: AbortSignal.timeout(RUN_TIMEOUT_MS) })
  expect(await answerOf(response)).toMatchObject({ status: 200 })
  child.kill('SIGTERM')
  const { code, err, out } = await exit()
  expect({ code, lines: out.trim().split('\n').length }).toEqual({ code: 0, lines: 1 })
  // What it was asked, and nothing else.
  expect(
    err
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line)),
  ).toEqual([
    expect.objectContaining({ level: 'debug', event: 'request', method: 'GET', route: '/healthz', status: 200 }),
    expect.objectContaining({ level: 'info', event: 'stopping', signal: 'SIGTERM' }),
  ])
})

test('the first signal takes no new connection and lets a request under way wait, the second ends it at once', async () => {
  await using database = await createDatabase()
  const env = { DATABASE_URL: database.url, PUBLIC_URL: 'https://sync.example.com', SIGNING_KEY: key, PORT: '0' }
  const { child, exit, said } = start({ ...env, ADMIN_TOKEN: adminToken, LOG_LEVEL: 'warning' })
  await vi.waitFor(() => expect(said.out).toContain('\n'), { timeout: RUN_TIMEOUT_MS })
  const { port } = new URL(/http:\/\/127\.0\.0\.1:\d+/.exec(said.out)?.[0] ?? '')
  // A request whose body never comes: the server waits five seconds for it.
  const socket = connect(Number(port), '127.0.0.1')
  socket.on('error', () => undefined)
  await once(socket, 'connect')
  const headers = `authorization: Bearer ${adminToken}\r\ncontent-type: application/json\r\ncontent-length: 100`
  socket.write(`POST /v1/jobs HTTP/1.1\r\nhost: x\r\n${headers}\r\n\r\n{`)
  expect((await fetch(`http://127.0.0.1:${port}/healthz`)).status).toBe(200)
  child.kill('SIGTERM')
  await vi.waitFor(
    async () => await expect(fetch(`http://127.0.0.1:${port}/healthz`)).rejects.toThrow('fetch failed'),
    {
      timeout: RUN_TIMEOUT_MS,
    },
  )
  expect(child.exitCode).toBeNull()
  const askedAt = performance.now()
  child.kill('SIGINT')
  const { code, err, signal } = await exit()
  expect({ code, signal, err }).toEqual({ code: 130, signal: null, err: '' })
  expect(performance.now() - askedAt).toBeLessThan(2000)
  socket.destroy()
})

test('a first start prints one token, the next one none, and with the database’s address alone one gets another', async () => {
  await using database = await createDatabase()
  const env = { DATABASE_URL: database.url, PUBLIC_URL: 'https://sync.example.com', SIGNING_KEY: key, PORT: '0' }
  const said: string[] = []
  const unusable = start({ DATABASE_URL: database.url }, tokens, ['--label', 'x', '--days', '1000'])
  for (const lines of [3, 1]) {
    const running = start(env)
    await vi.waitFor(() => expect(running.said.out.split('\n')).toHaveLength(lines + 1), { timeout: RUN_TIMEOUT_MS })
    if (lines === 1) said.push(...(await locksmith(database.url, running.said.out)))
    running.child.kill('SIGTERM')
    const { code, err, out } = await running.exit()
    expect({ code, leaked: err.includes('mbs_') }).toEqual({ code: 0, leaked: false })
    said.push(...(out.match(/mbs_\w{16}_[\w-]{43}/g) ?? []))
  }
  expect(said).toEqual([expect.stringMatching(/^mbs_/), 'token:locksmith', 'admin'])
  const { code, err, out } = await unusable.exit()
  expect({ code, out, err }).toEqual({ code: 1, out: '', err: expect.stringContaining('usage: ') })
})

/** Who a token is that was made with nothing but the database. */
async function locksmith(databaseUrl: string, out: string): Promise<string[]> {
  const made = await start({ DATABASE_URL: databaseUrl }, tokens, ['--label', 'locksmith']).exit()
  expect(made.code).toBe(0)
  const url = /http:\/\/127\.0\.0\.1:\d+/.exec(out)?.[0]
  const headers = { authorization: `Bearer ${made.out.trim()}` }
  const me = await fetch(`${url}/v1/me`, { headers, signal: AbortSignal.timeout(RUN_TIMEOUT_MS) })
  const { name, role } = (await me.json()) as { name: string; role: string }
  return [name, role]
}

test('as a process it names every mistake of its environment, and a database that it cannot use', async () => {
  const nothing = await start({}).exit()
  expect(nothing).toMatchObject({ code: 1, out: '' })
  for (const name of ['DATABASE_URL', 'SIGNING_KEY', 'PUBLIC_URL']) expect(nothing.err).toContain(name)

  const env = { PUBLIC_URL: 'https://sync.example.com', ADMIN_TOKEN: adminToken, SIGNING_KEY: key }
  const away = await start({ ...env, DATABASE_URL: 'postgres://user:hunter2@127.0.0.1:1/x' }).exit()
  expect(away).toMatchObject({ code: 1, out: '' })
  expect(away.err).toContain('ECONNREFUSED')
  expect(away.err).not.toContain('hunter2')
})

test('as a function it is the same app', async () => {
  await using testDatabase = await createDatabase()
  await using database = openDatabase(testDatabase.url, (error) => {
    throw error
  })
  await migrate(database)
  const env = {
    DATABASE_URL: testDatabase.url,
    PUBLIC_URL: 'https://sync.example.com',
    ADMIN_TOKEN: adminToken,
    SIGNING_KEY: key,
  }
  for (const [name, value] of Object.entries(env)) vi.stubEnv(name, value)
  const { default: app } = await import('../src/index.ts')
  vi.unstubAllEnvs()
  expect(await answerOf(await app.fetch(new Request('https://sync.example.com/healthz')))).toMatchObject({
    status: 200,
  })
  const headers = { authorization: `Bearer ${adminToken}` }
  const jobs = await app.fetch(new Request('https://sync.example.com/v1/jobs', { headers }))
  expect(await answerOf(jobs)).toMatchObject({ status: 200, body: { jobs: [], next: null } })
})
