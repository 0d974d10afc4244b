import { readFile } from 'node:fs/promises'
import { calculateJwkThumbprint, importJWK, type CryptoKey, type JWK } from 'jose'
import { z } from 'zod'
import { SyncError } from '@multiboard-sync/shared/sync-error'

/*
 * The public keys this agent trusts, pinned in a file on its own machine and never fetched from anywhere: whoever takes
 * over the control plane cannot make the agent trust another key. Several keys with dates let keys be exchanged.
 */

const trustedKeySchema = z.strictObject({
  kid: z.string().min(1),
  /** What the key may sign. One key has one use, so that no signature can be taken for another kind. */
  use: z.enum(['order', 'archive']),
  not_before: z.iso.datetime({ offset: true }).optional(),
  not_after: z.iso.datetime({ offset: true }).optional(),
  /** A public Ed25519 key (RFC 8037). Strict, so that a private key in this file is refused. */
  jwk: z.strictObject({
    kty: z.literal('OKP'),
    crv: z.literal('Ed25519'),
    x: z.string().regex(/^[A-Za-z0-9_-]{43}$/, '32 bytes as base64url'),
    alg: z.literal('EdDSA').optional(),
    use: z.literal('sig').optional(),
    kid: z.string().optional(),
  }),
})
type TrustedKey = z.infer<typeof trustedKeySchema>

const trustFileSchema = z.strictObject({ keys: z.array(trustedKeySchema).max(64) })

export interface Trust {
  /** The key of this kid that may sign orders at this time; undefined when there is none. */
  findOrderKey(kid: string, now: Date): Promise<CryptoKey | undefined>
  /** The key of this kid that may sign archives at this time; undefined when there is none. */
  findArchiveKey(kid: string, now: Date): Promise<CryptoKey | undefined>
  /** The kids of all order keys in the file, for the control plane to say which of its keys are not known here. */
  orderKids(): string[]
}

/** Reads the trust file. Throws `key-missing` when it is not there, `config-invalid` when it is not right. */
export async function readTrustFile(path: string): Promise<Trust> {
  let text: string
  try {
    text = await readFile(path, 'utf8')
  } catch (cause) {
    throw new SyncError('key-missing', 'The trust file cannot be read.', {
      hint: `Put the control plane's public key into ${path}, or name the right file.`,
      cause,
    })
  }
  return await parseTrustFile(text)
}

/** Parses the text of a trust file. Strict: throws `config-invalid` and names each field that is wrong. */
export async function parseTrustFile(text: string): Promise<Trust> {
  const { keys } = parseJson(text)
  const imported = new Map<string, { entry: TrustedKey; key: CryptoKey }>()
  for (const entry of keys) {
    if (imported.has(entry.kid)) throw invalid([`key ${entry.kid} is there twice; one key has one use`])
    if ((await calculateJwkThumbprint(publicJwk(entry))) !== entry.kid) {
      throw invalid([`kid ${entry.kid} is not the RFC 7638 thumbprint of its key`])
    }
    imported.set(entry.kid, { entry, key: await importPublicKey(entry) })
  }
  const find = async (use: TrustedKey['use'], kid: string, now: Date): Promise<CryptoKey | undefined> => {
    const found = imported.get(kid)
    return found && found.entry.use === use && isValidAt(found.entry, now) ? found.key : undefined
  }
  return {
    findOrderKey: async (kid, now) => await find('order', kid, now),
    findArchiveKey: async (kid, now) => await find('archive', kid, now),
    orderKids: () => keys.filter(({ use }) => use === 'order').map(({ kid }) => kid),
  }
}

function parseJson(text: string): z.infer<typeof trustFileSchema> {
  let json: unknown
  try {
    json = JSON.parse(text)
  } catch (cause) {
    throw invalid(['not JSON'], cause)
  }
  const parsed = trustFileSchema.safeParse(json)
  if (parsed.success) return parsed.data
  throw invalid(parsed.error.issues.map(({ path, message }) => `${path.join('.') || 'file'}: ${message}`))
}

async function importPublicKey(entry: TrustedKey): Promise<CryptoKey> {
  try {
    const key = await importJWK(publicJwk(entry), 'EdDSA')
    if (!(key instanceof Uint8Array)) return key
  } catch (cause) {
    throw invalid([`key ${entry.kid} is no Ed25519 public key`], cause)
  }
  throw invalid([`key ${entry.kid} is no Ed25519 public key`])
}

function publicJwk({ jwk: { kty, crv, x } }: TrustedKey): JWK {
  return { kty, crv, x }
}

function isValidAt({ not_before, not_after }: TrustedKey, now: Date): boolean {
  if (not_before !== undefined && now < new Date(not_before)) return false
  return not_after === undefined || now < new Date(not_after)
}

function invalid(details: string[], cause?: unknown): SyncError {
  return new SyncError('config-invalid', `The trust file is not right: ${details[0] ?? 'unknown'}.`, {
    hint: 'Its form is {"keys":[{"kid","use":"order"|"archive","not_before"?,"not_after"?,"jwk"}]} with public keys only.',
    details,
    cause,
  })
}
