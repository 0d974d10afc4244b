import { readFileSync } from 'node:fs'
import type { Level } from '@multiboard-sync/shared/event'
import { mistakeOf, readFileVariables } from '@multiboard-sync/shared/file-variables'
import { SyncError } from '@multiboard-sync/shared/sync-error'
import type { JWK } from 'jose'
import type { LeaseTimes } from './control-plane.ts'
import { controlPlaneEnvSchema, databaseUrlSchema } from './env-schema.ts'
import type { Issuer } from './people/issuer.ts'
import type { RateLimits } from './web/limit-rate.ts'

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
  /** Default: info. */
  logLevel?: Level | undefined
}

/**
 * The configuration from the environment, and from the files that it names values by. Throws one `config-invalid` that
 * lists every mistake, and no value.
 */
export function readEnv(env: NodeJS.ProcessEnv = process.env): ControlPlaneConfig & { publicUrl: string } {
  const variables = readFileVariables(env, (name) => Object.hasOwn(controlPlaneEnvSchema.shape, name), readText)
  const parsed = controlPlaneEnvSchema.safeParse(variables.set)
  const issues = (parsed.error?.issues ?? []).flatMap(({ path, message }) =>
    mistakeOf(variables, String(path[0]), `${path.join('.')}: ${message}`),
  )
  const details = [...variables.mistakes, ...issues]
  if (!parsed.success || details.length > 0) {
    throw new SyncError('config-invalid', `The environment is not usable:\n${details.join('\n')}`, {
      hint: 'See docs/CONFIGURATION.md for every variable; each can be given by a file, as SIGNING_KEY_FILE.',
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
    logLevel: data.LOG_LEVEL,
  }
}

/** All that the migrations need. Throws `config-invalid`. */
export function readDatabaseUrl(env: NodeJS.ProcessEnv = process.env): string {
  const variables = readFileVariables(env, (name) => name === 'DATABASE_URL', readText)
  const parsed = databaseUrlSchema.safeParse(variables.set['DATABASE_URL'])
  if (parsed.success && variables.mistakes.length === 0) return parsed.data
  const said = `DATABASE_URL ${parsed.error?.issues[0]?.message ?? 'is not usable'}`
  const [mistake] = [...variables.mistakes, ...mistakeOf(variables, 'DATABASE_URL', said)]
  throw new SyncError('config-invalid', `${mistake}.`, {
    hint: 'It is the only setting that the migrations need; see docs/CONFIGURATION.md.',
  })
}

function readText(path: string): string {
  return readFileSync(path, 'utf8')
}
