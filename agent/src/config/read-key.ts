import { readFile } from 'node:fs/promises'
import { publicJwkSchema } from '@multiboard-sync/shared/agent-key'
import { SyncError } from '@multiboard-sync/shared/sync-error'
import { calculateJwkThumbprint, importJWK, type CryptoKey } from 'jose'
import { z } from 'zod'

const privateJwkSchema = z.looseObject({
  kty: z.literal('OKP'),
  crv: z.literal('Ed25519'),
  x: z.string(),
  d: z.string(),
})

const formerKeysSchema = z.strictObject({ keys: z.array(publicJwkSchema) })

export interface PublicJwk {
  kty: 'OKP'
  crv: 'Ed25519'
  x: string
}

export interface AgentKey {
  path: string
  /** RFC 7638 thumbprint of the public key. */
  kid: string
  publicJwk: PublicJwk
  privateKey: CryptoKey
  publicKey: CryptoKey
  /**
   * The agent's own public key of this kid, former ones and one that another process has brought since included: what
   * this agent has signed stays its own after a rotation. Undefined when it never had such a key. Throws `config-invalid`.
   */
  findOwnKey(kid: string): Promise<CryptoKey | undefined>
}

/** The files of one key, beside each other: who may write one of them could as well write the others. */
export function keyFiles(path: string): { current: string; next: string; former: string } {
  const stem = path.replace(/(\.key)?(\.json)?$/, '')
  // The private ones end as keys do everywhere here, so that what keeps keys out of a repository keeps out these.
  return { current: path, next: `${stem}.next.key.json`, former: `${stem}.former.json` }
}

/** Reads the agent's Ed25519 key (a private JWK). Throws `key-missing`; the file's contents are never printed. */
export async function readKey(path: string): Promise<AgentKey> {
  try {
    const { kty, crv, x, d } = privateJwkSchema.parse(JSON.parse(await readFile(path, 'utf8')))
    const publicJwk = { kty, crv, x }
    const kid = await calculateJwkThumbprint(publicJwk)
    const publicKey = await importPublic(publicJwk)
    return {
      path,
      kid,
      publicJwk,
      privateKey: asCryptoKey(await importJWK({ ...publicJwk, d }, 'EdDSA')),
      publicKey,
      findOwnKey: async (asked) => (asked === kid ? publicKey : await findOnDisk(path, asked)),
    }
  } catch (cause) {
    throw new SyncError('key-missing', `${path} holds no Ed25519 private key (JWK).`, {
      hint: 'Make one with `pnpm keys` or `pnpm agent enroll`, or set AGENT_KEY_FILE.',
      cause,
    })
  }
}

/** The public keys that this agent had before. None when there is no such file. Throws `config-invalid`. */
export async function readFormerKeys(path: string): Promise<PublicJwk[]> {
  const { former } = keyFiles(path)
  let text: string
  try {
    text = await readFile(former, 'utf8')
  } catch (cause) {
    if (cause instanceof Error && 'code' in cause && cause.code === 'ENOENT') return []
    throw damaged(former, cause)
  }
  try {
    return formerKeysSchema.parse(JSON.parse(text)).keys.map(({ kty, crv, x }) => ({ kty, crv, x }))
  } catch (cause) {
    throw damaged(former, cause)
  }
}

/** Looked for only when an archive names another key than the current one: seldom enough to read the files each time. */
async function findOnDisk(path: string, kid: string): Promise<CryptoKey | undefined> {
  const current = await readKey(path)
  if (current.kid === kid) return current.publicKey
  for (const jwk of await readFormerKeys(path)) {
    if ((await calculateJwkThumbprint({ ...jwk })) === kid) return await importPublic(jwk)
  }
  return undefined
}

async function importPublic(jwk: PublicJwk): Promise<CryptoKey> {
  return asCryptoKey(await importJWK({ ...jwk }, 'EdDSA'))
}

function asCryptoKey(key: CryptoKey | Uint8Array): CryptoKey {
  if (key instanceof Uint8Array) throw new TypeError('not an asymmetric key')
  return key
}

function damaged(path: string, cause: unknown): SyncError {
  return new SyncError(
    'config-invalid',
    `${path} cannot be read: it should hold the public keys this agent had before.`,
    {
      hint: 'Its form is {"keys":[{"kty","crv","x"}]}. Restore it from a copy: archives signed with those keys need it.',
      cause,
    },
  )
}
