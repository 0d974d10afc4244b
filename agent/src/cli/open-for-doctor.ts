import { policySchema } from '@multiboard-sync/shared/policy'
import { SyncError } from '@multiboard-sync/shared/sync-error'
import { formatNumberOf } from '@multiboard-sync/shared/sizes'
import { openObjectStore } from '../archive/object-store.ts'
import { manifestTrust, untrusted } from '../archive/sign-manifest.ts'
import { readKey } from '../config/read-key.ts'
import { readPolicy } from '../config/read-policy.ts'
import { databaseUrls, searchServer } from '../context.ts'
import { readEnvAround } from '../env.ts'
import { readVersion } from '../open-context.ts'
import { readTrustFile } from '../verify/trust-file.ts'
import { runDoctor, startChecks, type Check, type Doctored, type Finding } from './doctor.ts'

/*
 * doctor from the very beginning: also where the configuration cannot be used. Promises: every wrong variable in one finding,
 * every wrong file in one of its own, and all checks that do without them. Never prints a value.
 */

export interface Diagnosis {
  isWell: boolean
  /** False: something is wrong with a variable or a file, and not only with what they lead to. */
  isConfigured: boolean
}

/** `env`: default, that of the process. */
export async function diagnose(
  signal: AbortSignal,
  tell: (finding: Finding) => void,
  env?: NodeJS.ProcessEnv,
): Promise<Diagnosis> {
  const { check, isWell: isConfigured } = startChecks(signal, tell)
  await using doctored = await openForDoctor(readEnvAround(env), check)
  const isWell = await runDoctor(doctored, doctored.controlPlaneUrl, signal, tell)
  return { isWell: isWell && isConfigured(), isConfigured: isConfigured() }
}

/** What an agent without a policy may do: nothing. Bucket, keys and control plane can be looked at all the same. */
const NO_POLICY = policySchema.parse({ databases: {} })

async function openForDoctor(
  { settings, wrong, mistakes, unknown }: ReturnType<typeof readEnvAround>,
  check: Check,
): Promise<Doctored & AsyncDisposable & { controlPlaneUrl: string | undefined }> {
  const policy = await settle(readPolicy(settings.AGENT_CONFIG))
  const databaseUrl = databaseUrls(policy.value?.policy ?? NO_POLICY, settings.databaseUrl)
  for (const [name, { url_env }] of Object.entries(policy.value?.policy.databases ?? {})) {
    const variable = url_env ?? `${name.toUpperCase()}_DATABASE_URL`
    const mistake = mistakeOf(settings.databaseUrl(variable))
    if (mistake === undefined || wrong.has(variable)) continue
    wrong.add(variable)
    mistakes.push(`${variable}${mistake}`)
  }
  if ((settings.TYPESENSE_HOST === undefined) !== (settings.TYPESENSE_API_KEY === undefined)) {
    const [there, lacks] = settings.TYPESENSE_HOST ? ['HOST', 'API_KEY'] : ['API_KEY', 'HOST']
    if (!wrong.has(`TYPESENSE_${lacks}`)) mistakes.push(`TYPESENSE_${lacks} is not set, and TYPESENSE_${there} is`)
    wrong.add(`TYPESENSE_${lacks}`)
  }
  await check('environment', () => {
    const notes = unknown.map((name) => `nothing reads ${name}: look whether it is misspelled`)
    if (mistakes.length === 0) return { text: 'every variable can be used', notes }
    throw new SyncError('config-invalid', `${formatNumberOf(mistakes.length, 'variable')} cannot be used.`, {
      hint: 'Set each of them right; docs/CONFIGURATION.md tells what it may hold, and databases stand in agent.yaml.',
      details: [...mistakes, ...notes],
    })
  })
  const [key, trust] = [
    await settle(readKey(settings.AGENT_KEY_FILE)),
    await settle(readTrustFile(settings.TRUST_FILE)),
  ]
  await check('policy', async () => {
    const { databases, routes } = (await policy.again()).policy
    return `${settings.AGENT_CONFIG}: ${formatNumberOf(Object.keys(databases).length, 'database')}, ${formatNumberOf(routes.length, 'route')}`
  })
  await check('agent key', async () => `${settings.AGENT_KEY_FILE} holds the key ${(await key.again()).kid}`)
  await check('trust file', async () => {
    const kids = (await trust.again()).orderKids()
    return `${settings.TRUST_FILE} can be read, ${formatNumberOf(kids.length, 'key')} for orders`
  })
  const store = openObjectStore({
    ...(settings.S3_ENDPOINT === undefined ? {} : { endpoint: settings.S3_ENDPOINT }),
    region: settings.S3_REGION,
    bucket: settings.S3_BUCKET,
    prefix: settings.S3_PREFIX,
    accessKeyId: settings.S3_ACCESS_KEY_ID,
    secretAccessKey: settings.S3_SECRET_ACCESS_KEY,
    forcePathStyle: settings.S3_FORCE_PATH_STYLE,
  })
  return {
    context: {
      agent: settings.AGENT_ID,
      version: await readVersion(),
      stateDir: settings.AGENT_STATE_DIR,
      policy: policy.value?.policy ?? NO_POLICY,
      policySha256: policy.value?.sha256 ?? '',
      databaseUrl,
      store,
      prefix: settings.S3_PREFIX,
      // Nothing is archived and nothing restored here.
      signer: { kid: '', sign: async () => await Promise.reject(new SyncError('internal', 'Doctor signs nothing.')) },
      trust: manifestTrust(async () => await Promise.reject(untrusted('is not read by doctor'))),
      ...searchServer(settings),
    },
    key: key.value,
    trust: trust.value,
    wrong,
    controlPlaneUrl: settings.CONTROL_PLANE_URL,
    [Symbol.asyncDispose]: async () => await store[Symbol.asyncDispose](),
  }
}

/** What is wrong with a database's URL, as the end of a sentence that begins with its variable; undefined when nothing is. */
function mistakeOf(url: string | undefined): string | undefined {
  if (url === undefined) return ' is not set'
  if (!URL.canParse(url)) return ': not a URL; percent-encode special characters'
  return /^postgres(ql)?:\/\//.test(url) ? undefined : ': must begin with postgres://'
}

/** A reading that is over, whichever way: its value, or the same failure again for the check that tells it. */
async function settle<T>(reading: Promise<T>): Promise<{ value: T | undefined; again: () => Promise<T> }> {
  const value = await reading.catch(() => undefined)
  return { value, again: async () => await reading }
}
