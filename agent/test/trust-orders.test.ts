import { mkdtemp, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { SyncError } from '@multiboard-sync/shared/sync-error'
import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { until } from '../../shared/testing/postgres/deadline.ts'
import { openSmallDisk } from './matrix/small-disk.ts'
import { makeOrder, newStateDir, startAgent, writeInstallation, type Keys, type RunningAgent } from './trust/agents.ts'
import { startPlane, type Plane, type Seen } from './trust/plane.ts'

/** Orders that were captured on their way, given to the whole agent again: it restarts, it forgets, and runs none twice. */

const EXECUTED = 100
/** In each of four states of memory: every order comes more than once. */
const REPLAYS = 250
const STEP_TIMEOUT_MS = 55_000

let stack: AsyncDisposableStack
let keys: Keys
let plane: Plane
let seen: Seen
let stateDir: string
/** Jobs that were begun. */
let runs: number

beforeEach(async () => {
  stack = new AsyncDisposableStack()
  const dir = await mkdtemp(join(tmpdir(), 'trust-orders-'))
  stack.defer(async () => await rm(dir, { recursive: true }))
  keys = await writeInstallation(dir)
  plane = stack.use(await startPlane(keys.agent.publicKey))
  seen = plane.agent('vps1')
  const made = await newStateDir()
  stack.defer(async () => await rm(made, { recursive: true }))
  stateDir = made
  runs = 0
  const stderr = vi.spyOn(process.stderr, 'write').mockReturnValue(true)
  stack.defer(() => stderr.mockRestore())
})

afterEach(async () => await stack.disposeAsync())

async function start(): Promise<RunningAgent> {
  const env = {
    ...keys.files,
    AGENT_ID: 'vps1',
    AGENT_STATE_DIR: stateDir,
    S3_ENDPOINT: 'http://127.0.0.1:9',
    S3_BUCKET: 'archive',
    S3_ACCESS_KEY_ID: 'id',
    S3_SECRET_ACCESS_KEY: 'secret',
  }
  const store = {
    // The first thing that a job does; it ends there.
    check: async (): Promise<void> => {
      runs += 1
      return await Promise.reject(new SyncError('storage-failed', 'The bucket was not looked at.'))
    },
    listFolders: async (): Promise<string[]> => [],
  }
  return await startAgent(env, plane.origin, (opened) => ({
    ...opened,
    context: { ...opened.context, store: { ...opened.context.store, ...store } },
  }))
}

async function capture(count: number): Promise<string[]> {
  const params = { kind: 'export', source: 'production' } as const
  const orders = Array.from({ length: count }, async () => {
    const { token } = await makeOrder(keys, { agent: 'vps1', origin: plane.origin, params })
    return token
  })
  return await Promise.all(orders)
}

async function give(tokens: string[]): Promise<string[]> {
  const before = seen.verdicts.length
  seen.orders.push(...tokens)
  await until('every order to be answered', STEP_TIMEOUT_MS, () => seen.verdicts.length >= before + tokens.length, 20)
  return [...new Set(seen.verdicts.slice(before).map(({ verdict, code }) => code ?? verdict))]
}

function replayed(tokens: string[]): string[] {
  return Array.from({ length: REPLAYS }, (_, index) => tokens[index % tokens.length] ?? '')
}

async function executed(count: number): Promise<string[]> {
  const tokens = await capture(count)
  expect(await give(tokens)).toEqual(['accepted'])
  await until('every end', STEP_TIMEOUT_MS, () => seen.completions.length >= count, 20)
  expect(runs).toBe(count)
  return tokens
}

test('T2: of 1,000 captured orders none is executed again, at once, after a restart, or with a memory that was lost', async () => {
  let tokens: string[]
  {
    await using _agent = await start()
    tokens = await executed(EXECUTED)
    expect(await give(replayed(tokens))).toEqual(['order-replayed'])
  }
  {
    await using _agent = await start()
    expect(await give(replayed(tokens))).toEqual(['order-replayed'])
  }
  // The list of seen orders is lost, the journal is not.
  await rm(join(stateDir, 'seen-orders.jsonl'))
  {
    await using _agent = await start()
    expect(await give(replayed(tokens))).toEqual(['order-replayed'])
  }
  // The journal is lost as well, and the list has forgotten all but the newest epochs, as it does in time.
  await rm(join(stateDir, 'journal'), { recursive: true })
  const marks = tokens.map((token) => {
    const { job } = JSON.parse(Buffer.from(token.split('.')[1] ?? '', 'base64url').toString()) as {
      job: { id: string }
    }
    return `${JSON.stringify({ job: job.id, epoch: 1 })}\n`
  })
  await writeFile(join(stateDir, 'seen-orders.jsonl'), marks.join(''))
  {
    await using _agent = await start()
    expect(await give(replayed(tokens))).toEqual(['order-superseded'])
  }
  expect(runs).toBe(EXECUTED)
  expect(seen.verdicts.filter(({ code }) => code !== undefined)).toHaveLength(4 * REPLAYS)
})

test('G18: an order that the disk does not take is refused, and the next is taken when there is room again', async ({
  skip,
}) => {
  const disk = await openSmallDisk(2 * 1024 * 1024)
  if (typeof disk === 'string') return skip(disk)
  stack.use(disk)
  stateDir = join(disk.folder, 'state')
  const filler = await disk.fill(0)
  await using _agent = await start()
  expect(await give(await capture(1))).toEqual(['disk-full'])
  expect(runs).toBe(0)
  await filler[Symbol.asyncDispose]()
  const [token = ''] = await executed(1)
  expect(await give([token])).toEqual(['order-replayed'])
})

test('G18: a job whose events find no place on the disk runs to its end, and the end is told', async ({ skip }) => {
  const disk = await openSmallDisk(2 * 1024 * 1024)
  if (typeof disk === 'string') return skip(disk)
  stack.use(disk)
  await symlink(disk.folder, join(stateDir, 'outbox'))
  await using _filler = await disk.fill(0)
  await using _agent = await start()
  await executed(1)
  expect(seen.completions[0]?.body.result).toMatchObject({ outcome: 'failed', code: 'storage-failed' })
  expect(seen.events).toEqual([])
})
