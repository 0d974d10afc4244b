import { execFile } from 'node:child_process'
import { mkdir, mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseEnv, promisify } from 'node:util'
import { afterAll, beforeAll, expect, test, vi } from 'vitest'
import { issuersSchema } from '../src/people/issuer.ts'
import { startSurroundings, type Surroundings } from './surroundings.ts'

/** Runs the code of docs/ADMIN-EXAMPLE.md as it stands there. */

const RUN_TIMEOUT_MS = 20_000
const document = new URL('../../docs/ADMIN-EXAMPLE.md', import.meta.url)
const jose = fileURLToPath(new URL('../node_modules/jose', import.meta.url))

let folder: string
let env: NodeJS.Dict<string>
let here: Surroundings
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'admin-example-'))
  await writeFile(join(folder, 'make-key.mjs'), await codeOf('make-key.mjs'))
  const printed = await promisify(execFile)(process.execPath, [join(folder, 'make-key.mjs')], {
    timeout: RUN_TIMEOUT_MS,
  })
  env = parseEnv(printed.stdout)
  here = await startSurroundings({ issuers: issuersSchema.parse(JSON.parse(env['PEOPLE_ISSUERS'] ?? '')) })
})
afterAll(async () => {
  await here?.[Symbol.asyncDispose]()
  await rm(folder, { recursive: true, force: true })
})

test('the Next.js example of the documentation asks for a sync in the name of who is logged in', async () => {
  const agent = await here.registerAgent('vps')
  const handler = await openHandler()
  const press = async (key: string) => {
    const answer = await handler.POST(
      new Request('https://admin.example.com/api/sync', { method: 'POST', headers: { 'idempotency-key': key } }),
    )
    return { status: answer.status, body: (await answer.json()) as Record<string, unknown> }
  }
  handler.login(undefined)
  expect(await press('one')).toMatchObject({ status: 403 })
  handler.login({ email: 'grace@example.com', role: 'editor' })
  expect(await press('one')).toMatchObject({ status: 403 })
  handler.login({ email: 'ada@example.com', role: 'admin' })
  const { body, status } = await press('one')
  expect(body).toMatchObject({ params: { kind: 'sync' }, state: 'queued', requested_by: 'admin-app:ada@example.com' })
  expect(status).toBe(201)
  expect((await press('one')).body['id']).toBe(body['id'])
  expect((await agent.begin()).requester).toBe('admin-app:ada@example.com')
  const audit = await here.person('GET', `/v1/audit?object=job:${String(body['id'])}`)
  expect(audit.body).toMatchObject({ entries: [{}, {}, { action: 'job.asked', actor: 'admin-app:ada@example.com' }] })
})

test('the issuer that docs/PROTOCOL.md shows is one that is taken', async () => {
  const text = await readFile(new URL('../../docs/PROTOCOL.md', import.meta.url), 'utf8')
  const [, shown = ''] = /```json\n(\[\{ "issuer".+?)```/s.exec(text) ?? []
  expect(issuersSchema.parse(JSON.parse(shown))).toMatchObject([{ name: 'id.example.com', typ: 'JWT' }])
})

interface User {
  email: string
  role: string
}

/** The handler beside what a Next.js app would have: jose, and an `@/auth` that says who is logged in. */
async function openHandler() {
  const path = 'app/api/sync/route.ts'
  await mkdir(join(folder, dirname(path)), { recursive: true })
  await mkdir(join(folder, 'node_modules', '@', 'auth'), { recursive: true })
  await symlink(jose, join(folder, 'node_modules', 'jose'))
  const auth = join(folder, 'node_modules', '@', 'auth', 'index.mjs')
  await writeFile(join(dirname(auth), 'package.json'), '{"name":"@/auth","version":"1.0.0","exports":"./index.mjs"}')
  await writeFile(auth, 'export const auth = async () => globalThis.loggedIn')
  await writeFile(join(folder, path), await codeOf(path))
  vi.stubEnv('SYNC_KEY', env['SYNC_KEY'])
  vi.stubEnv('SYNC_URL', here.control.url)
  const { POST } = (await import(join(folder, path))) as { POST: (request: Request) => Promise<Response> }
  return { POST, login: (user: User | undefined) => void vi.stubGlobal('loggedIn', user && { user }) }
}

/** The block of code that bears this file's name. */
async function codeOf(name: string): Promise<string> {
  const text = await readFile(document, 'utf8')
  const block = text.split('```').find((part) => /^\w+ (.+)\n/.exec(part)?.[1] === name)
  if (block === undefined) throw new Error(`docs/ADMIN-EXAMPLE.md has no block ${name}`)
  return block.slice(block.indexOf('\n') + 1)
}
