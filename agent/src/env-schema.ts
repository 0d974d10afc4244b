import { levelSchema } from '@multiboard-sync/shared/event'
import { agentIdSchema } from '@multiboard-sync/shared/job'
import { z } from 'zod'
import { DEFAULT_STATE_DIR } from './health/env.ts'

/*
 * What the agent's environment may say, and what each variable means: docs/CONFIGURATION.md and .env.example are written
 * from here (`pnpm configuration`). `example` is what stands in .env.example; a `secret` never leaves the agent.
 */

const listenSchema = z
  .string()
  .regex(/^(\[[0-9a-f:.]+\]|[\w.-]+):\d{1,5}$/i, 'must be host:port, such as 127.0.0.1:9464')
  .transform((text) => {
    const colon = text.lastIndexOf(':')
    return { host: text.slice(0, colon).replaceAll(/^\[|\]$/g, ''), port: Number(text.slice(colon + 1)) }
  })
  .refine(({ port }) => port <= 65_535, 'has no such port')

export const agentEnvSchema = z.object({
  AGENT_ID: agentIdSchema.default('local').meta({
    description: "The agent's name. The control plane knows the agent's public key by it.",
    example: 'vps-1',
    form: 'lower-case letters, digits and -',
  }),
  AGENT_CONFIG: z.string().min(1).default('./agent.yaml').meta({
    form: 'path',
    description: 'The policy: which databases there are and which may flow where. agent.example.yaml shows its form.',
  }),
  AGENT_STATE_DIR: z.string().min(1).default(DEFAULT_STATE_DIR).meta({
    form: 'path',
    description:
      'A folder that survives a restart: the journal of jobs, events that are not sent yet, orders already seen, the sign of life.',
  }),
  AGENT_KEY_FILE: z.string().min(1).default('./agent.key.json').meta({
    form: 'path',
    description: "The agent's private key. `pnpm agent enroll` makes one where there is none; so does `pnpm keys`.",
  }),
  TRUST_FILE: z.string().min(1).default('./trust.json').meta({
    form: 'path',
    description: 'The public keys that the agent obeys. `pnpm keys` makes it.',
  }),
  // Signatures name paths as the control plane sees them: a prefix that a proxy strips would break every one.
  CONTROL_PLANE_URL: z
    .url({ protocol: /^https?$/ })
    .refine((url) => new URL(url).pathname === '/', 'must have no path')
    .optional()
    .meta({
      description: "Where the daemon asks for orders: the control plane's PUBLIC_URL. Not needed for single commands.",
      example: 'https://sync.example.com',
    }),
  HEALTH_LISTEN: listenSchema.optional().meta({
    form: 'host:port',
    description:
      'host:port where the daemon answers GET /healthz, /readyz and /metrics, such as 127.0.0.1:9464. Empty: it listens nowhere. There is no password: keep it on the loopback address, or behind a firewall.',
    example: '',
  }),
  LOG_LEVEL: levelSchema.default('info').meta({
    description: 'What the log leaves out: everything below this level.',
  }),
  S3_ENDPOINT: z
    .url({ protocol: /^https?$/ })
    .optional()
    .meta({ description: 'The URL of the object store. Leave it empty for AWS.', example: 'https://s3.example.com' }),
  S3_REGION: z.string().min(1).default('us-east-1').meta({ description: "The bucket's region." }),
  S3_BUCKET: z.string().min(1).meta({ description: 'The bucket for archives.', example: 'archives' }),
  S3_PREFIX: z
    .string()
    .regex(/^[\w!'()*.-]+(\/[\w!'()*.-]+)*$/, 'folders without a slash at either end')
    .or(z.literal(''))
    .default('')
    .meta({ description: 'A folder in the bucket, without a slash at either end; empty for none.' }),
  S3_ACCESS_KEY_ID: z.string().min(1).meta({ description: 'Who asks the object store.', secret: true, example: 'key' }),
  S3_SECRET_ACCESS_KEY: z.string().min(1).meta({
    description: 'Its secret. docs/S3-PROVIDERS.md names the rights it needs.',
    secret: true,
    example: 'secret',
  }),
  S3_FORCE_PATH_STYLE: z.stringbool().default(false).meta({
    description: 'true for stores that want the bucket in the path (MinIO, most self-hosted ones).',
    form: '`true` or `false`',
    fallback: 'false',
  }),
  TYPESENSE_HOST: z
    .string()
    .transform((text) => (/^[a-z][a-z0-9+.-]*:\/\//i.test(text) ? text : `https://${text}`))
    .pipe(z.url({ protocol: /^https?$/ }))
    .transform((text) => new URL(text))
    .refine(({ username, password }) => username === '' && password === '', 'must have no user and password')
    .refine(({ search, hash }) => search === '' && hash === '', 'must have no query')
    .optional()
    .meta({
      description:
        'The URL of the search server whose collections follow the rows (`collections:` in the policy); without a scheme it means https. Leave it and its key empty for none.',
      example: 'https://search.example.com:8108',
      form: 'URL',
    }),
  TYPESENSE_API_KEY: z.string().min(1).optional().meta({
    description: 'Its key. docs/TYPESENSE.md has the curl command that makes one with the least rights.',
    secret: true,
    example: 'key',
  }),
  TYPESENSE_PATIENCE_SECONDS: z.coerce.number().int().min(0).max(86_400).default(600).meta({
    description: 'How long a job waits for a search server that does not answer, before it leaves the index stale.',
    unit: 'seconds',
  }),
})

/** The variables that the policy names, one for each database. */
export const databaseUrlVariable = {
  name: '<NAME>_DATABASE_URL',
  description:
    "The URL of a database of the policy: `<NAME>` is its name there in capital letters, `PRODUCTION_DATABASE_URL` for `production`; or the variable that its `url_env` names. Use the server's direct address, not that of a pooler. These URLs never leave the agent.",
  secret: true,
  examples: {
    PRODUCTION_DATABASE_URL: 'postgresql://user:password@production.example.com:5432/parts',
    STAGING_DATABASE_URL: 'postgresql://user:password@staging.example.com:5432/parts',
  },
} as const
