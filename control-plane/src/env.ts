import { readFileSync } from 'node:fs'
import { SyncError } from '@multiboard-sync/shared/sync-error'
import type { JWK } from 'jose'
import { z } from 'zod'
import type { LeaseTimes } from './control-plane.ts'
import { issuersSchema, type Issuer } from './people/issuer.ts'
import { defaultRateLimits, type RateLimits } from './web/limit-rate.ts'

export interface ControlPlaneConfig {
  databaseUrl: string
  signingKey: JWK
  /** Where people and agents reach us; its origin is in every signature. Under Node, default: the address we listen on. */
  publicUrl?: string
  adminToken?: string | undefined
  issuers?: readonly Issuer[] | undefined
  lease: LeaseTimes
  limits?: RateLimits | undefined
  /** Lower case: `x-forwarded-for`. */
  addressHeader?: string | undefined
  host: string
  port: number
}

const textSchema = z.string('is missing')
const databaseUrlSchema = textSchema.regex(/^postgres(ql)?:\/\//, 'must begin with postgres://')

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

const envSchema = z.object({
  DATABASE_URL: databaseUrlSchema,
  SIGNING_KEY: jwkSchema,
  PUBLIC_URL: textSchema.pipe(z.url({ protocol: /^https?$/, error: 'must be an http or https URL' })),
  ADMIN_TOKEN: z.string().min(32, 'must have at least 32 characters').optional(),
  PEOPLE_ISSUERS: jsonSchema.pipe(issuersSchema).optional(),
  PORT: z.coerce.number().int().min(0).max(65_535).default(8787),
  HOST: z.string().default('127.0.0.1'),
  LEASE_MS: durationSchema(90_000, LEAST_LEASE_MS),
  LEASE_GRACE_MS: durationSchema(30_000, 1),
  CALLS_PER_MINUTE_PERSON: callsSchema(defaultRateLimits.person),
  CALLS_PER_MINUTE_AGENT: callsSchema(defaultRateLimits.agent),
  CALLS_PER_MINUTE_STRANGER: callsSchema(defaultRateLimits.stranger),
  CLIENT_ADDRESS_HEADER: z
    .string()
    .regex(/^[a-z][a-z-]*$/i, 'must be the name of a header')
    .toLowerCase()
    .optional(),
})

/** The configuration from the environment. Throws one `config-invalid` that lists every mistake, and no value. */
export function readEnv(env: NodeJS.ProcessEnv = process.env): ControlPlaneConfig & { publicUrl: string } {
  const parsed = envSchema.safeParse({ ...withoutEmpty(env), ...keyFromFile(env) })
  if (!parsed.success) {
    const details = parsed.error.issues.map(({ path, message }) => `${path.join('.')}: ${message}`)
    throw new SyncError('config-invalid', `The environment is not usable:\n${details.join('\n')}`, {
      hint: 'See .env.example; SIGNING_KEY_FILE may name a file instead of SIGNING_KEY.',
      details,
    })
  }
  const { data } = parsed
  return {
    databaseUrl: data.DATABASE_URL,
    signingKey: data.SIGNING_KEY,
    publicUrl: data.PUBLIC_URL,
    adminToken: data.ADMIN_TOKEN,
    issuers: data.PEOPLE_ISSUERS,
    lease: { leaseMs: data.LEASE_MS, graceMs: data.LEASE_GRACE_MS },
    limits: {
      person: data.CALLS_PER_MINUTE_PERSON,
      agent: data.CALLS_PER_MINUTE_AGENT,
      stranger: data.CALLS_PER_MINUTE_STRANGER,
    },
    addressHeader: data.CLIENT_ADDRESS_HEADER,
    host: data.HOST,
    port: data.PORT,
  }
}

/** All that the migrations need. Throws `config-invalid`. */
export function readDatabaseUrl(env: NodeJS.ProcessEnv = process.env): string {
  const parsed = databaseUrlSchema.safeParse(withoutEmpty(env)['DATABASE_URL'])
  if (parsed.success) return parsed.data
  throw new SyncError('config-invalid', `DATABASE_URL ${parsed.error.issues[0]?.message ?? 'is not usable'}.`, {
    hint: 'It is the only setting that the migrations need; see .env.example.',
  })
}

/** An empty variable, as compose files leave them, is one that is not set. */
function withoutEmpty(env: NodeJS.ProcessEnv): Record<string, string | undefined> {
  return Object.fromEntries(Object.entries(env).filter(([, value]) => value !== ''))
}

function keyFromFile({ SIGNING_KEY_FILE }: NodeJS.ProcessEnv): { SIGNING_KEY?: string } {
  if (!SIGNING_KEY_FILE) return {}
  try {
    return { SIGNING_KEY: readFileSync(SIGNING_KEY_FILE, 'utf8') }
  } catch (cause) {
    throw new SyncError('config-invalid', 'The file that SIGNING_KEY_FILE names cannot be read.', {
      hint: 'Check the path and that this user may read it.',
      cause,
    })
  }
}
