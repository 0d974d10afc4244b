import { spawn } from 'node:child_process'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { startObjectStore, type ObjectStore } from '@multiboard-sync/shared/testing/object-store'
import type { S3Server } from '@multiboard-sync/shared/testing/swift'
import { createDatabase, type TestDatabase } from '@multiboard-sync/shared/testing/test-database'
import { calculateJwkThumbprint, exportJWK, generateKeyPair, type JWK } from 'jose'

/** Two databases, a bucket, and an agent's files: what one sync needs, real, for one test. */
export interface World extends AsyncDisposable {
  source: TestDatabase
  target: TestDatabase
  store: ObjectStore
  bucket: string
  /** The agent's own folder: agent.yaml, keys, state. */
  dir: string
  env: Record<string, string>
  agentPublicJwk: JWK
  /** Runs the agent's command line as its user does. Never throws for an exit code. */
  agent(args: string[], over?: Record<string, string>): Promise<AgentRun>
  writePolicy(yaml: string): Promise<void>
}

export interface AgentRun {
  code: number | null
  stdout: string
  stderr: string
  /** The last line of stdout, parsed; undefined when it is no JSON. */
  json: Record<string, unknown> | undefined
}

const COMPILE_CACHE = fileURLToPath(new URL('../../../.cache/compile', import.meta.url))
const MAIN = fileURLToPath(new URL('../../src/main.ts', import.meta.url))
const DEADLINE_MS = 55_000

export const POLICY = `
databases:
  production: { role: source, protected: true }
  staging: { role: both }
  same: { role: target }
routes:
  - { from: production, to: staging }
  - { from: production, to: same }
`

export interface WorldOptions {
  source?: Parameters<typeof createDatabase>[0]
  target?: Parameters<typeof createDatabase>[0]
  /** Where the agent is to keep its archives instead of in `store`, which then stays empty. */
  storage?: S3Server & { bucket: string; prefix: string }
}

export async function openWorld(options: WorldOptions = {}): Promise<World> {
  await using made = new AsyncDisposableStack()
  const source = made.use(await createDatabase(options.source))
  const target = made.use(await createDatabase(options.target))
  const store = made.use(await startObjectStore())
  const bucket = 'archive'
  await store.createBucket(bucket)
  const dir = await mkdtemp(join(tmpdir(), 'mbs-world-'))
  made.defer(async () => await rm(dir, { recursive: true, force: true }))
  const agentPublicJwk = await writeKeys(dir)
  await writeFile(join(dir, 'agent.yaml'), POLICY)
  const storage = options.storage ?? { ...store, bucket, prefix: 'mbs' }
  const env = {
    PATH: process.env['PATH'] ?? '',
    // Many processes start in these tests; from the second on none strips types again.
    NODE_COMPILE_CACHE: COMPILE_CACHE,
    AGENT_CONFIG: join(dir, 'agent.yaml'),
    AGENT_STATE_DIR: join(dir, 'state'),
    AGENT_KEY_FILE: join(dir, 'agent.key.json'),
    TRUST_FILE: join(dir, 'trust.json'),
    AGENT_ID: 'vps1',
    S3_ENDPOINT: storage.endpoint,
    S3_REGION: storage.region,
    S3_BUCKET: storage.bucket,
    S3_PREFIX: storage.prefix,
    S3_ACCESS_KEY_ID: storage.accessKeyId,
    S3_SECRET_ACCESS_KEY: storage.secretAccessKey,
    S3_FORCE_PATH_STYLE: 'true',
    PRODUCTION_DATABASE_URL: source.url,
    STAGING_DATABASE_URL: target.url,
    SAME_DATABASE_URL: source.url,
  }
  const owned = made.move()
  return {
    source,
    target,
    store,
    bucket,
    dir,
    env,
    agentPublicJwk,
    agent: async (args, over = {}) => await runAgent(args, { ...env, ...over }),
    writePolicy: async (yaml) => await writeFile(join(dir, 'agent.yaml'), yaml),
    [Symbol.asyncDispose]: async () => await owned.disposeAsync(),
  }
}

async function writeKeys(dir: string): Promise<JWK> {
  const { privateKey, publicKey } = await generateKeyPair('EdDSA', { crv: 'Ed25519', extractable: true })
  await writeFile(join(dir, 'agent.key.json'), JSON.stringify(await exportJWK(privateKey)))
  await writeTrust(dir, [])
  return await exportJWK(publicKey)
}

/** Writes the trust file with the control planes' public keys. */
export async function writeTrust(dir: string, orderKeys: JWK[]): Promise<void> {
  const keys = await Promise.all(
    orderKeys.map(async (jwk) => ({ kid: await calculateJwkThumbprint(jwk), use: 'order', jwk })),
  )
  await writeFile(join(dir, 'trust.json'), JSON.stringify({ keys }))
}

async function runAgent(args: string[], env: Record<string, string>): Promise<AgentRun> {
  const child = spawn(process.execPath, [MAIN, ...args], { env, stdio: ['ignore', 'pipe', 'pipe'] })
  const timer = setTimeout(() => child.kill('SIGKILL'), DEADLINE_MS)
  const read = async (stream: AsyncIterable<Buffer>): Promise<string> => {
    const chunks: Buffer[] = []
    for await (const chunk of stream) chunks.push(chunk)
    return Buffer.concat(chunks).toString()
  }
  const ended = new Promise<number | null>((resolve) => child.once('close', (code) => resolve(code)))
  const [stdout, stderr, code] = await Promise.all([read(child.stdout), read(child.stderr), ended])
  clearTimeout(timer)
  return { code, stdout, stderr, json: lastJson(stdout) }
}

function lastJson(stdout: string): Record<string, unknown> | undefined {
  try {
    return JSON.parse(stdout.trim().split('\n').at(-1) ?? '') as Record<string, unknown>
  } catch {
    return undefined
  }
}
