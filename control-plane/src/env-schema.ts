import { levelSchema } from '@multiboard-sync/shared/event'
import { z } from 'zod'
import { issuersSchema } from './people/issuer.ts'
import { defaultRateLimits } from './web/limit-rate.ts'

/*
 * What the control plane's environment may say, and what each variable means: docs/CONFIGURATION.md and .env.example are
 * written from here (`pnpm configuration`). `example` is what stands in .env.example; a `secret` is never shown.
 */

const textSchema = z.string('is missing')
export const databaseUrlSchema = textSchema.regex(/^postgres(ql)?:\/\//, 'must begin with postgres://')

const durationSchema = (defaultMs: number, leastMs: number) =>
  z.coerce.number().int().min(leastMs).max(86_400_000).default(defaultMs)

const callsSchema = (defaultCalls: number) => z.coerce.number().int().min(1).max(1_000_000).default(defaultCalls)

/** Agents renew four times a lease and want five seconds left for a commit; with less than this no job could ever commit. */
const LEAST_LEASE_MS = 10_000

const jsonSchema = textSchema.transform((text, context) => {
  try {
    return JSON.parse(text) as unknown
  } catch {
    context.addIssue({ code: 'custom', message: 'is not JSON' })
    return z.NEVER
  }
})

const notKey = 'is not a private Ed25519 key as a JWK'
const jwkSchema = jsonSchema.pipe(
  z.looseObject(
    { kty: z.literal('OKP', notKey), crv: z.literal('Ed25519', notKey), x: z.string(notKey), d: z.string(notKey) },
    notKey,
  ),
)

export const controlPlaneEnvSchema = z.object({
  DATABASE_URL: databaseUrlSchema.meta({
    form: 'URL',
    description: 'Its own database. It holds jobs, events, names and sizes; never rows of your databases.',
    secret: true,
    example: 'postgresql://user:password@db.example.com:5432/control_plane',
  }),
  SIGNING_KEY: jwkSchema.meta({
    form: 'JSON',
    description:
      'The private key that signs orders, as JSON. `pnpm keys` makes it. Rather name the file that holds it.',
    secret: true,
    example: { SIGNING_KEY: '', SIGNING_KEY_FILE: './control-plane.key.json' },
  }),
  PUBLIC_URL: textSchema.pipe(z.url({ protocol: /^https?$/, error: 'must be an http or https URL' })).meta({
    form: 'URL',
    description: 'Where people and agents reach it. Its origin is in every signature.',
    example: 'https://sync.example.com',
  }),
  ADMIN_TOKEN: z.string().min(32, 'must have at least 32 characters').optional().meta({
    description:
      'A token of an admin that never runs out, at least 32 characters: openssl rand -base64 32. Best left empty: the process then prints a first token, once, and POST /v1/tokens makes others with names and roles. Functions need it to begin with.',
    secret: true,
    example: '',
  }),
  PEOPLE_ISSUERS: jsonSchema.pipe(issuersSchema).optional().meta({
    form: 'JSON',
    description: 'Whose JWTs prove people: a list as JSON. docs/PROTOCOL.md, People, tells what it may say.',
    example: '',
  }),
  HOST: z.string().default('127.0.0.1').meta({
    description: 'Where it listens. 0.0.0.0 for every address.',
  }),
  PORT: z.coerce.number().int().min(0).max(65_535).default(8787).meta({ description: 'The port it listens on.' }),
  LOG_LEVEL: levelSchema.default('info').meta({
    description: 'What the log leaves out: everything below this level. Requests are logged as info.',
  }),
  LEASE_MS: durationSchema(90_000, LEAST_LEASE_MS).meta({
    description: 'An agent that is silent for so long loses its job.',
    unit: 'milliseconds',
  }),
  LEASE_GRACE_MS: durationSchema(30_000, 1).meta({
    description: 'So long after that the job is shown as lost.',
    unit: 'milliseconds',
  }),
  CALLS_PER_MINUTE_PERSON: callsSchema(defaultRateLimits.person).meta({
    description: 'How often one person may call within a minute. Far above what works.',
    unit: 'calls a minute',
  }),
  CALLS_PER_MINUTE_AGENT: callsSchema(defaultRateLimits.agent).meta({
    description: 'The same for one agent.',
    unit: 'calls a minute',
  }),
  CALLS_PER_MINUTE_STRANGER: callsSchema(defaultRateLimits.stranger).meta({
    description: 'The same for one address that proves nothing.',
    unit: 'calls a minute',
  }),
  CLIENT_ADDRESS_HEADER: z
    .string()
    .regex(/^[a-z][a-z-]*$/i, 'must be the name of a header')
    .toLowerCase()
    .optional()
    .meta({
      description:
        "Behind a proxy: the header in which it tells the client's address, for example x-forwarded-for. Empty: the connection's; of a function x-real-ip.",
      example: '',
    }),
})
