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

/** Reads the environment. Throws `config-invalid` with every mistake at once, and no value. */
export function readEnv(env: NodeJS.ProcessEnv = process.env): AgentEnv {
  // An empty variable, as compose files make them, is as good as none.
  const set = Object.fromEntries(Object.entries(env).filter(([, value]) => value !== undefined && value !== ''))
  const parsed = envSchema.safeParse(set)
  if (!parsed.success) {
    throw new SyncError('config-invalid', "The agent's environment is not complete.", {
      hint: 'See .env.example for every variable.',
      details: parsed.error.issues.map(({ path: [name], message }) =>
        set[String(name)] === undefined ? `${String(name)} is not set` : `${String(name)}: ${message}`,
      ),
    })
  }
  // Every variable that holds a database's URL, whatever a policy's url_env calls it.
  const urls = Object.values(set).filter((value) => value !== undefined && /^postgres(ql)?:\/\//.test(value))
  return {
    ...parsed.data,
    databaseUrl: (variable) => set[variable],
    secrets: [
      parsed.data.S3_SECRET_ACCESS_KEY,
      parsed.data.S3_ACCESS_KEY_ID,
      ...(parsed.data.TYPESENSE_API_KEY === undefined ? [] : [parsed.data.TYPESENSE_API_KEY]),
      ...urls.flatMap((url) => [url ?? '', ...passwordsOf(url ?? '')]),
    ],
  }
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
