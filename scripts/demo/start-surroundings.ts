import { randomBytes } from 'node:crypto'
import { createWriteStream } from 'node:fs'
import { mkdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { finished } from 'node:stream/promises'

import pg from 'pg'

import { startControlPlane, type StartOptions } from '../../control-plane/src/start-control-plane.ts'
import { startObjectStore } from '../../shared/testing/object-store.ts'
import { startPostgres, type PostgresServer } from '../../shared/testing/postgres.ts'
import { makeKeys } from '../make-keys.ts'
import type { Api } from './call-api.ts'
import type { DemoOptions } from './options.ts'
import { collectionYaml, startSearch, type DemoSearch } from './start-search.ts'
import { makeTemporaryFolder } from './temporary-folder.ts'

export interface Surroundings extends AsyncDisposable {
  folder: string
  postgres: PostgresServer
  api: Api
  /** Where parts are searched; absent where there is no mapping. */
  search: DemoSearch | undefined
  /** The agent's environment: everything that it and its command line need. */
  agentEnv: Record<string, string>
  /** What the control plane is told of the agent: its id and public key. */
  registration: { id: string; public_jwk: unknown }
  bucket: string
  endpoint: string
  /** A shell file with the agent's environment and the admin token. */
  envFile: string
  /** Where the agent's log goes. */
  logFile: string
}

const agentId = 'demo-agent'
const bucket = 'archives'
const policy = `databases:
  production: { role: source, protected: true }
  staging: { role: target }
routes:
  - { from: production, to: staging }
`

/** Starts PostgreSQL, an object store and the control plane, on free ports of 127.0.0.1, with fresh keys and tokens. */
export async function startSurroundings(options: DemoOptions, say: (text: string) => void): Promise<Surroundings> {
  await using started = new AsyncDisposableStack()
  const folder = started.use(await makeTemporaryFolder()).path
  const keys = await makeKeys(folder)

  say('starting PostgreSQL')
  const postgres = started.use(await startPostgres())
  const client = new pg.Client({ connectionString: postgres.url('postgres') })
  await client.connect()
  try {
    for (const name of ['production', 'control_plane']) await client.query(`create database ${name}`)
  } finally {
    await client.end()
  }

  say('starting the object store and the control plane')
  const dataDir = join(folder, 'object-store')
  await mkdir(dataDir)
  const credentials = { accessKeyId: 'demo', secretAccessKey: randomBytes(18).toString('base64url') }
  const store = started.use(await startObjectStore({ dataDir, ...credentials }))
  await store.createBucket(bucket)

  const search = options.load === undefined ? started.use(await startSearch(options.typesense)) : undefined

  const adminToken = randomBytes(24).toString('base64url')
  const log = createWriteStream(join(folder, 'control-plane.log'), { mode: 0o600 })
  started.defer(async () => await finished(log.end()))
  const controlPlane = started.use(
    await startControlPlane({
      databaseUrl: postgres.url('control_plane'),
      signingKey: JSON.parse(await readFile(keys.controlPlaneKeyFile, 'utf8')) as StartOptions['signingKey'],
      adminToken,
      lease: { leaseMs: 90_000, graceMs: 30_000 },
      host: '127.0.0.1',
      port: 0,
      log: (record) => void log.write(`${JSON.stringify(record)}\n`),
    }),
  )

  const policyFile = join(folder, 'agent.yaml')
  await writeFile(policyFile, search ? policy + collectionYaml(search.alias) : policy, { mode: 0o600 })
  const agentEnv = {
    AGENT_ID: agentId,
    AGENT_CONFIG: policyFile,
    AGENT_STATE_DIR: join(folder, 'agent-state'),
    AGENT_KEY_FILE: keys.agentKeyFile,
    TRUST_FILE: keys.trustFile,
    CONTROL_PLANE_URL: controlPlane.url,
    PRODUCTION_DATABASE_URL: postgres.url('production'),
    STAGING_DATABASE_URL: postgres.url('staging'),
    S3_ENDPOINT: store.endpoint,
    S3_REGION: store.region,
    S3_BUCKET: bucket,
    S3_ACCESS_KEY_ID: credentials.accessKeyId,
    S3_SECRET_ACCESS_KEY: credentials.secretAccessKey,
    S3_FORCE_PATH_STYLE: 'true',
    ...(search ? { TYPESENSE_HOST: search.url, TYPESENSE_API_KEY: search.apiKey } : {}),
  }
  const envFile = join(folder, 'demo.env')
  const lines = Object.entries({ ...agentEnv, ADMIN_TOKEN: adminToken }).map(([name, value]) => `${name}='${value}'`)
  await writeFile(envFile, `${lines.join('\n')}\n`, { mode: 0o600 })

  const resources = started.move()
  return {
    folder,
    postgres,
    api: { url: controlPlane.url, adminToken },
    search,
    agentEnv,
    registration: { id: agentId, public_jwk: JSON.parse(await readFile(keys.agentPublicFile, 'utf8')) },
    bucket,
    endpoint: store.endpoint,
    envFile,
    logFile: join(folder, 'agent.log'),
    [Symbol.asyncDispose]: async () => await resources.disposeAsync(),
  }
}
