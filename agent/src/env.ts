import { z } from 'zod'
import { agentIdSchema } from '@multiboard-sync/shared/job'
import { SyncError } from '@multiboard-sync/shared/sync-error'

/** The agent's environment, as names and values; nothing here is ever printed. */
const envSchema = z.object({
  AGENT_ID: agentIdSchema.default('local'),
  AGENT_CONFIG: z.string().min(1).default('./agent.yaml'),
  AGENT_STATE_DIR: z.string().min(1).default('./.state'),
  AGENT_KEY_FILE: z.string().min(1).default('./agent.key.json'),
  TRUST_FILE: z.string().min(1).default('./trust.json'),
  // Signatures name paths as the control plane sees them: a prefix that a proxy strips would break every one.
  CONTROL_PLANE_URL: z
    .url({ protocol: /^https?$/ })
    .refine((url) => new URL(url).pathname === '/', 'must have no path')
    .optional(),
  S3_ENDPOINT: z.url({ protocol: /^https?$/ }).optional(),
  S3_REGION: z.string().min(1).default('us-east-1'),
  S3_BUCKET: z.string().min(1),
  S3_PREFIX: z
    .string()
    .regex(/^[\w!'()*.-]+(\/[\w!'()*.-]+)*$/, 'folders without a slash at either end')
    .or(z.literal(''))
    .default(''),
  S3_ACCESS_KEY_ID: z.string().min(1),
  S3_SECRET_ACCESS_KEY: z.string().min(1),
  S3_FORCE_PATH_STYLE: z.stringbool().default(false),
  /** Where Typesense is. A bare host means https. */
  TYPESENSE_HOST: z
    .string()
    .transform((text) => (/^[a-z][a-z0-9+.-]*:\/\//i.test(text) ? text : `https://${text}`))
    .pipe(z.url({ protocol: /^https?$/ }))
    .transform((text) => new URL(text))
    .refine(({ username, password }) => username === '' && password === '', 'must have no user and password')
    .refine(({ search, hash }) => search === '' && hash === '', 'must have no query')
    .optional(),
  TYPESENSE_API_KEY: z.string().min(1).optional(),
  /** How long a job waits for a search server that does not answer, before it leaves the index stale. */
  TYPESENSE_PATIENCE_SECONDS: z.coerce.number().int().min(0).max(86_400).default(600),
})
export type AgentEnv = z.infer<typeof envSchema> & {
  /** The URL that an environment variable holds; undefined when it is not set. */
  databaseUrl: (variable: string) => string | undefined
  /** Values that must never leave the agent, for the redactor. */
  secrets: string[]
}

/** What a key's own commands need: they come first, before there are databases, a bucket, or a policy. */
const enrollEnvSchema = envSchema
  .pick({ AGENT_ID: true, AGENT_KEY_FILE: true, TRUST_FILE: true })
  .extend({ CONTROL_PLANE_URL: envSchema.shape.CONTROL_PLANE_URL.unwrap() })
export type EnrollEnv = z.infer<typeof enrollEnvSchema>

/** Throws `config-invalid`. */
export function readEnrollEnv(env: NodeJS.ProcessEnv = process.env): EnrollEnv {
  return parseEnv(enrollEnvSchema, withoutEmpty(env))
}

/** Reads the environment. Throws `config-invalid` with every mistake at once, and no value. */
export function readEnv(env: NodeJS.ProcessEnv = process.env): AgentEnv {
  const set = withoutEmpty(env)
  const parsed = parseEnv(envSchema, set)
  // Every variable that holds a database's URL, whatever a policy's url_env calls it.
  const urls = Object.values(set).filter((value) => value !== undefined && /^postgres(ql)?:\/\//.test(value))
  return {
    ...parsed,
    databaseUrl: (variable) => set[variable],
    secrets: [
      parsed.S3_SECRET_ACCESS_KEY,
      parsed.S3_ACCESS_KEY_ID,
      ...(parsed.TYPESENSE_API_KEY === undefined ? [] : [parsed.TYPESENSE_API_KEY]),
      ...urls.flatMap((url) => [url ?? '', ...passwordsOf(url ?? '')]),
    ],
  }
}

/** An empty variable, as compose files make them, is as good as none. */
function withoutEmpty(env: NodeJS.ProcessEnv): Record<string, string> {
  return Object.fromEntries(
    Object.entries(env).filter((entry): entry is [string, string] => entry[1] !== undefined && entry[1] !== ''),
  )
}

function parseEnv<Schema extends z.ZodType>(schema: Schema, set: Record<string, string>): z.output<Schema> {
  const parsed = schema.safeParse(set)
  if (parsed.success) return parsed.data
  throw new SyncError('config-invalid', "The agent's environment is not complete.", {
    hint: 'See .env.example for every variable.',
    details: parsed.error.issues.map(({ path: [name], message }) =>
      set[String(name)] === undefined ? `${String(name)} is not set` : `${String(name)}: ${message}`,
    ),
  })
}

/** The password of a URL, as it is written there and as it is meant. */
function passwordsOf(url: string): string[] {
  const { password = '', searchParams } = URL.parse(url) ?? {}
  return [password, decoded(password), searchParams?.get('password') ?? ''].filter((text) => text !== '')
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text)
  } catch {
    return text
  }
}

/** What reaching the control plane takes, and nothing that is secret but a proxy's password. */
const FOR_THREADS = ['NODE_COMPILE_CACHE', 'NODE_USE_ENV_PROXY', 'HTTP_PROXY', 'HTTPS_PROXY', 'NO_PROXY']

/** The environment of a thread that calls the control plane. */
export function threadEnv(env: NodeJS.ProcessEnv = process.env): NodeJS.ProcessEnv {
  return Object.fromEntries(FOR_THREADS.flatMap((name) => (env[name] === undefined ? [] : [[name, env[name]]])))
}

/** What names the proxy that Node's fetch takes; undefined where it takes none. */
export function proxyEnv(env: NodeJS.ProcessEnv = process.env): NodeJS.ProcessEnv | undefined {
  return env['NODE_USE_ENV_PROXY'] === '1' ? threadEnv(env) : undefined
}
