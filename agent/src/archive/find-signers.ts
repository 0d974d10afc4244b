import { agentIdSchema, archiveIdSchema } from '@multiboard-sync/shared/job'
import { SyncError } from '@multiboard-sync/shared/sync-error'
import { calculateJwkThumbprint, importJWK } from 'jose'
import { z } from 'zod'
import { MANIFEST, MANIFEST_SIGNATURE, RECIPE, archivePrefix, kindPrefix } from './object-names.ts'
import type { ObjectStore } from './object-store.ts'
import { readRecipeKey } from './recipe.ts'
import { manifestTrust, signerOf, type SignerJwk } from './sign-manifest.ts'

/*
 * Who has signed what lies in the bucket, for an agent that comes to it anew and trusts nobody yet. Promises: a public key
 * is told only when it has the name that the signatures give, and has signed a manifest that is there. Never: trusts
 * anything. Whoever may write to the bucket may have made all of it; that a key is the lost agent's, people must know.
 */

export interface Signer {
  kid: string
  /** What the newest manifest says of itself: not to be believed before the key is. */
  agent: string | undefined
  archives: number
  newest: string
  oldest: string
  /** Undefined: the bucket does not have it; older versions wrote none. */
  publicJwk: SignerJwk | undefined
}

const SIGNATURE_MAX_BYTES = 8 * 1024
const RECIPE_MAX_BYTES = 64 * 1024
const MANIFEST_MAX_BYTES = 64 * 1024 * 1024
/** Of one signer's archives so many are looked into for its key, the newest first: one is enough, unless it was tampered with. */
const LOOKS = 3
/** Signatures are small, and there may be thousands. */
const AT_ONCE = 8

interface Signed {
  folder: string
  id: string
  jws: string
}

/** By the age of their newest archive. Archives without a signature of ours are left out. Throws the store's errors. */
export async function findSigners(
  { store, prefix }: { store: ObjectStore; prefix: string },
  signal: AbortSignal,
): Promise<Signer[]> {
  const byKid = new Map<string, Signed[]>()
  for (const kind of ['export', 'safety-backup'] as const) {
    const names = await store.listFolders(kindPrefix(prefix, kind), signal)
    const ids = names.filter((id) => archiveIdSchema.safeParse(id).success)
    for (let at = 0; at < ids.length; at += AT_ONCE) {
      const some = ids.slice(at, at + AT_ONCE)
      const found = await Promise.all(
        some.map(async (id) => await readSignature(store, archivePrefix(prefix, kind, id), id, signal)),
      )
      for (const signed of found) {
        if (signed === undefined) continue
        byKid.set(signed.kid, [...(byKid.get(signed.kid) ?? []), signed])
      }
    }
  }
  const signers = [...byKid].map(async ([kid, signed]) => await describe(store, kid, signed, signal))
  return (await Promise.all(signers)).toSorted((a, b) => (a.newest < b.newest ? 1 : -1))
}

async function readSignature(
  store: ObjectStore,
  folder: string,
  id: string,
  signal: AbortSignal,
): Promise<(Signed & { kid: string }) | undefined> {
  try {
    const bytes = await store.getText(`${folder}${MANIFEST_SIGNATURE}`, { signal, maxBytes: SIGNATURE_MAX_BYTES })
    const jws = bytes.toString('latin1')
    return { folder, id, jws, kid: signerOf(jws) }
  } catch (error) {
    // An export that did not finish, or nothing of ours.
    if (error instanceof SyncError && error.code.startsWith('archive-')) return undefined
    throw error
  }
}

async function describe(store: ObjectStore, kid: string, signed: Signed[], signal: AbortSignal): Promise<Signer> {
  const newestFirst = signed.toSorted((a, b) => (a.id < b.id ? 1 : -1))
  const [newest, oldest] = [newestFirst[0]?.id ?? '', newestFirst.at(-1)?.id ?? '']
  for (const one of newestFirst.slice(0, LOOKS)) {
    const found = await readKey(store, kid, one, signal)
    if (found) return { kid, ...found, archives: signed.length, newest, oldest }
  }
  return { kid, agent: undefined, publicJwk: undefined, archives: signed.length, newest, oldest }
}

const agentSchema = z.looseObject({ agent: agentIdSchema })

async function readKey(
  store: ObjectStore,
  kid: string,
  { folder, jws }: Signed,
  signal: AbortSignal,
): Promise<Pick<Signer, 'agent' | 'publicJwk'> | undefined> {
  try {
    const recipe = await store.getText(`${folder}${RECIPE}`, { signal, maxBytes: RECIPE_MAX_BYTES })
    const publicJwk = readRecipeKey(recipe.toString('utf8'))
    if (!publicJwk || (await calculateJwkThumbprint({ ...publicJwk })) !== kid) return undefined
    const key = await importJWK({ ...publicJwk }, 'EdDSA')
    if (key instanceof Uint8Array) return undefined
    const bytes = await store.getText(`${folder}${MANIFEST}`, { signal, maxBytes: MANIFEST_MAX_BYTES })
    await manifestTrust(async () => key).verify(jws, bytes)
    const { agent } = agentSchema.parse(JSON.parse(bytes.toString('utf8')))
    return { agent, publicJwk }
  } catch (error) {
    signal.throwIfAborted()
    if (error instanceof SyncError && !error.code.startsWith('archive-')) throw error
    return undefined
  }
}
