import { createHash } from 'node:crypto'
import { open, readFile, rename, rm, stat } from 'node:fs/promises'
import { dirname } from 'node:path'
import { syncFolder } from '../../agent/src/journal/json-lines.ts'
import { parseTrustFile } from '../../agent/src/verify/trust-file.ts'

/*
 * Changes an agent's trust file while the agent may be reading it: the new one is whole and on the disk before it takes the
 * old one's place, and is one that the agent accepts, or nothing is changed. An entry is added or removed, never altered.
 */

export interface KeyDates {
  notBefore?: string | undefined
  notAfter?: string | undefined
}

type Entry = Record<string, unknown> & { kid?: unknown }

/** What a trusted key may sign: a control plane's orders, or another agent's archives. */
export const uses = ['order', 'archive'] as const
export type KeyUse = (typeof uses)[number]

/** Adds the public half of a key. Returns its kid. Rejects when the key is there already. */
export async function addKey(trustFile: string, keyFile: string, use: KeyUse, dates: KeyDates): Promise<string> {
  const jwk = await readPublicJwk(keyFile)
  const kid = thumbprint(jwk)
  const notBefore = toIso('--not-before', dates.notBefore)
  const notAfter = toIso('--not-after', dates.notAfter)
  if (notBefore !== undefined && notAfter !== undefined && notBefore >= notAfter) {
    throw new Error('--not-after must be later than --not-before')
  }
  await changeTrust(trustFile, (keys) => {
    if (keys.some((entry) => entry.kid === kid))
      throw new Error(`${kid} is in ${trustFile} already; nothing was changed`)
    const times = {
      ...(notBefore === undefined ? {} : { not_before: notBefore }),
      ...(notAfter === undefined ? {} : { not_after: notAfter }),
    }
    return [...keys, { kid, use, ...times, jwk }]
  })
  return kid
}

/** Takes a key out: what it signed is refused from the agent's next reload on. Rejects when it is not there. */
export async function removeKey(trustFile: string, kid: string): Promise<void> {
  await changeTrust(trustFile, (keys) => {
    const left = keys.filter((entry) => entry.kid !== kid)
    if (left.length === keys.length) throw new Error(`${trustFile} has no key ${kid}; nothing was changed`)
    return left
  })
}

async function changeTrust(path: string, change: (keys: Entry[]) => Entry[]): Promise<void> {
  const before = await readFile(path, 'utf8').catch((cause: NodeJS.ErrnoException) => {
    if (cause.code !== 'ENOENT') throw cause
    // No file is begun here: one under a mistyped name would change nothing for the agent, and look as if it had.
    throw new Error(`there is no ${path}; name the agent's TRUST_FILE, or begin one: echo '{"keys":[]}' > ${path}`)
  })
  await parseTrustFile(before)
  const { keys } = JSON.parse(before) as { keys: Entry[] }
  const text = `${JSON.stringify({ keys: change(keys) }, undefined, 2)}\n`
  await parseTrustFile(text)
  const draft = `${path}.new`
  const { mode, uid, gid } = await stat(path)
  // wx: two that change it at the same time do not mix.
  const file = await open(draft, 'wx', mode)
  try {
    await file.writeFile(text)
    if (process.getuid?.() === 0) await file.chown(uid, gid)
    await file.sync()
    await rename(draft, path)
  } catch (error) {
    await rm(draft, { force: true })
    throw error
  } finally {
    await file.close()
  }
  await syncFolder(dirname(path))
}

async function readPublicJwk(path: string): Promise<{ kty: string; crv: string; x: string }> {
  let jwk: unknown
  try {
    jwk = JSON.parse(await readFile(path, 'utf8'))
  } catch {
    throw new Error(`${path} is not a key as JSON`)
  }
  if (typeof jwk === 'object' && jwk !== null && 'crv' in jwk && jwk.crv === 'Ed25519' && 'x' in jwk) {
    if (typeof jwk.x === 'string') return { kty: 'OKP', crv: 'Ed25519', x: jwk.x }
  }
  throw new Error(`${path} is no Ed25519 key (JWK)`)
}

/** RFC 7638: SHA-256 of the required members in this order. */
export function thumbprint({ x = '' }: { x?: string }): string {
  return createHash('sha256')
    .update(JSON.stringify({ crv: 'Ed25519', kty: 'OKP', x }))
    .digest('base64url')
}

function toIso(option: string, text: string | undefined): string | undefined {
  if (text === undefined) return undefined
  const date = new Date(text)
  // Without a zone a time would mean another one on each machine.
  if (Number.isNaN(date.getTime()) || !/^\d{4}-\d\d-\d\dT.+(Z|[+-]\d\d:\d\d)$/.test(text)) {
    throw new Error(`${option} must be a time such as 2026-12-01T00:00:00Z`)
  }
  return date.toISOString()
}
