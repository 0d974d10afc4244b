import { readFile } from 'node:fs/promises'
import { openObjectStore } from './archive/object-store.ts'
import { manifestSigner, manifestTrust } from './archive/sign-manifest.ts'
import { readKey, type AgentKey } from './config/read-key.ts'
import { readPolicy, type LoadedPolicy } from './config/read-policy.ts'
import { databaseUrls, searchServer, type AgentContext } from './context.ts'
import type { AgentEnv } from './env.ts'
import type { AgentWatch } from './health/agent-watch.ts'
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
  /** How long the end of one job may keep the agent from polling; tests put in their own. */
  tellForMs?: number
  /** Of this process, as the control plane tells two daemons of one name apart. Default: a new one. */
  bootId?: string
  /** Who watches whether the agent is well. */
  watch?: AgentWatch
}

/** Reads everything the agent is configured with. Throws `config-invalid`, `key-missing`. Connects to nothing. */
export async function openContext(env: AgentEnv): Promise<OpenedContext> {
  const loaded = await readPolicy(env.AGENT_CONFIG)
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
    ...policyParts(env, loaded),
    store,
    prefix: env.S3_PREFIX,
    signer: manifestSigner(key.privateKey, key.kid, key.publicJwk),
    trust: archiveTrust(key, trust),
    ...searchServer(env),
  }
  const redact = createRedactor(env.secrets)
  return { context, key, trust, redact, [Symbol.asyncDispose]: async () => await store[Symbol.asyncDispose]() }
}

/** The same agent under other rules, with another key of its own, trusting other keys. What was given stays as it is; both share what is open. */
export function withSettings(
  opened: OpenedContext,
  env: AgentEnv,
  { loaded, trust, key }: { loaded: LoadedPolicy; trust: Trust; key: AgentKey },
): OpenedContext {
  const context = {
    ...opened.context,
    ...policyParts(env, loaded),
    signer: manifestSigner(key.privateKey, key.kid, key.publicJwk),
    trust: archiveTrust(key, trust),
  }
  return { ...opened, context, trust, key }
}

function policyParts(env: AgentEnv, { policy, sha256 }: LoadedPolicy) {
  return { policy, policySha256: sha256, databaseUrl: databaseUrls(policy, env.databaseUrl) }
}

/** What it has signed itself, also with a key it had before, is always trusted; that of others when the trust file says so. */
function archiveTrust(key: AgentKey, trust: Trust): AgentContext['trust'] {
  return manifestTrust(async (kid) => (await key.findOwnKey(kid)) ?? (await trust.findArchiveKey(kid, new Date())))
}

export async function readVersion(): Promise<string> {
  const manifest: unknown = JSON.parse(await readFile(new URL('../package.json', import.meta.url), 'utf8'))
  const isNamed = typeof manifest === 'object' && manifest !== null && 'version' in manifest
  return isNamed ? String(manifest.version) : '0.0.0'
}
