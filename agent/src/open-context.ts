import { readFile } from 'node:fs/promises'
import { openObjectStore } from './archive/object-store.ts'
import { manifestSigner, manifestTrust } from './archive/sign-manifest.ts'
import { readKey, type AgentKey } from './config/read-key.ts'
import { readPolicy } from './config/read-policy.ts'
import { databaseUrls, searchServer, type AgentContext } from './context.ts'
import type { AgentEnv } from './env.ts'
import type { ControlPlane } from './poll/control-plane-client.ts'
import { createRedactor, type Redact } from './report/redact.ts'
import { readTrustFile, type Trust } from './verify/trust-file.ts'

export interface OpenedContext extends AsyncDisposable {
  context: AgentContext
  key: AgentKey
  trust: Trust
  redact: Redact
}

export interface AgentOptions {
  opened: OpenedContext
  controlPlane: ControlPlane
  /** The control plane's origin: orders must be issued by it. */
  issuer: string
  /** First signal: no new job, the running one goes on. */
  draining: AbortSignal
  /** Second signal: stop now; the running job is canceled, unless it is committing. */
  stopping: AbortSignal
}

/** Reads everything the agent is configured with. Throws `config-invalid`, `key-missing`. Connects to nothing. */
export async function openContext(env: AgentEnv): Promise<OpenedContext> {
  const { policy, sha256 } = await readPolicy(env.AGENT_CONFIG)
  const key = await readKey(env.AGENT_KEY_FILE)
  const trust = await readTrustFile(env.TRUST_FILE)
  const store = openObjectStore({
    ...(env.S3_ENDPOINT === undefined ? {} : { endpoint: env.S3_ENDPOINT }),
    region: env.S3_REGION,
    bucket: env.S3_BUCKET,
    prefix: env.S3_PREFIX,
    accessKeyId: env.S3_ACCESS_KEY_ID,
    secretAccessKey: env.S3_SECRET_ACCESS_KEY,
    forcePathStyle: env.S3_FORCE_PATH_STYLE,
  })
  const context: AgentContext = {
    agent: env.AGENT_ID,
    version: await readVersion(),
    stateDir: env.AGENT_STATE_DIR,
    policy,
    policySha256: sha256,
    store,
    prefix: env.S3_PREFIX,
    signer: manifestSigner(key.privateKey, key.kid),
    // Its own archives are always trusted; those of other or former agents only when the trust file says so.
    trust: manifestTrust(async (kid) =>
      kid === key.kid ? key.publicKey : await trust.findArchiveKey(kid, new Date()),
    ),
    databaseUrl: databaseUrls(policy, env.databaseUrl),
    ...searchServer(env),
  }
  const redact = createRedactor(env.secrets)
  return { context, key, trust, redact, [Symbol.asyncDispose]: async () => await store[Symbol.asyncDispose]() }
}

async function readVersion(): Promise<string> {
  const manifest: unknown = JSON.parse(await readFile(new URL('../package.json', import.meta.url), 'utf8'))
  const isNamed = typeof manifest === 'object' && manifest !== null && 'version' in manifest
  return isNamed ? String(manifest.version) : '0.0.0'
}
