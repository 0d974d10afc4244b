import { z } from 'zod'
import { roles } from './person.ts'

/*
 * Whose JWTs prove a person: an OpenID Connect issuer, or an admin app of one's own. All that a token must be stands
 * here; nothing of it is taken from the token.
 */

/** No HMAC: who can check such a token could make one. */
const algorithms = ['EdDSA', 'ES256', 'ES384', 'ES512', 'PS256', 'PS384', 'PS512', 'RS256', 'RS384', 'RS512'] as const

/** Of a pinned key's issuer when nothing else is said. No other kind of our tokens has this type. */
const PERSON_TYPE = 'multiboard-sync-person+jwt'
// One's own app makes a token for each call; a captured one is soon worth nothing.
const PINNED_MAX_AGE_S = 300
// Issuers set exp themselves; this only bounds those that set it to years.
const REMOTE_MAX_AGE_S = 86_400

const NAME_MAX_LENGTH = 60
/** What stands before the names of tokens and agents. */
const taken: readonly string[] = ['token', 'agent']

const roleSchema = z.enum(roles)

const publicJwkSchema = z
  .looseObject({ kty: z.enum(['OKP', 'EC', 'RSA'], 'must be a public key: OKP, EC or RSA') })
  .refine(
    (jwk) => jwk['d'] === undefined,
    'is a private key: keep it where tokens are made and put the public one here',
  )

const jwksUrlSchema = z
  .url({ protocol: /^https?$/, error: 'must be a URL' })
  .refine(
    (url) => url.startsWith('https:') || ['localhost', '127.0.0.1'].includes(new URL(url).hostname),
    'must be https',
  )

const issuerSchema = z
  .strictObject({
    /** Exactly the claim iss. */
    issuer: z.string().min(1),
    /** Stands before the subject in the names of its people. Default: the issuer's host, or the issuer as it is. */
    name: z
      .string()
      .regex(/^[A-Za-z0-9.-]{1,60}$/, 'letters, digits, dots and hyphens')
      .refine((name) => !taken.includes(name), 'is taken')
      .optional(),
    audience: z.string().min(1),
    jwks_url: jwksUrlSchema.optional(),
    jwks: z.strictObject({ keys: z.array(publicJwkSchema).min(1) }).optional(),
    public_jwk: publicJwkSchema.optional(),
    algorithms: z.array(z.enum(algorithms)).min(1),
    typ: z.string().min(1).optional(),
    /** A claim, or a path of claims with dots between them; its value one text or a list of them. */
    role_claim: z.string().min(1).optional(),
    /** What its values mean. Without it they are our roles' names. */
    roles: z.record(z.string(), roleSchema).optional(),
    /** For who has none of them. Without it they may not enter. */
    default_role: roleSchema.optional(),
    max_age_seconds: z.int().min(1).max(REMOTE_MAX_AGE_S).optional(),
  })
  .refine(
    ({ jwks_url, jwks, public_jwk }) => [jwks_url, jwks, public_jwk].filter((keys) => keys !== undefined).length === 1,
    'needs exactly one of jwks_url, jwks and public_jwk',
  )
  .refine(
    ({ role_claim, default_role }) => role_claim !== undefined || default_role !== undefined,
    'needs role_claim, default_role, or both',
  )
  .transform(({ name, typ, max_age_seconds, ...rest }) => {
    const isPinned = rest.jwks_url === undefined
    return {
      ...rest,
      isPinned,
      name: name ?? hostOf(rest.issuer),
      typ: typ ?? (isPinned ? PERSON_TYPE : 'JWT'),
      maxAgeS: max_age_seconds ?? (isPinned ? PINNED_MAX_AGE_S : REMOTE_MAX_AGE_S),
    }
  })
  // Also of a name that nobody chose: with the subject it must fit into an order, and be no token's nor agent's.
  .refine(({ name }) => name.length <= NAME_MAX_LENGTH && !taken.includes(name), 'needs a name of its own: set name')

export const issuersSchema = z
  .array(issuerSchema)
  .refine((issuers) => isUnique(issuers.map(({ issuer }) => issuer)), 'names an issuer twice')
  .refine((issuers) => isUnique(issuers.map(({ name }) => name)), 'gives two issuers one name')

export type Issuer = z.output<typeof issuerSchema>

function hostOf(issuer: string): string {
  return URL.parse(issuer)?.host ?? issuer
}

function isUnique(values: readonly string[]): boolean {
  return new Set(values).size === values.length
}
