import { createHash, randomBytes } from 'node:crypto'
import { z } from 'zod'

/*
 * A token of a person or a program: `mbs_<id>_<secret>`. The prefix is for secret scanners, the id for lists and logs.
 * The secret has 256 bits, so its SHA-256 is as hard to invert as it is to guess: no slow hash is needed.
 */

export const tokenIdSchema = z.string().regex(/^[0-9a-f]{16}$/, "a token's id")
const form = /^mbs_([0-9a-f]{16})_[A-Za-z0-9_-]{43}$/

export interface NewToken {
  id: string
  /** Shown once, kept nowhere. */
  text: string
  sha256: Buffer
}

export function newToken(): NewToken {
  const id = randomBytes(8).toString('hex')
  const text = `mbs_${id}_${randomBytes(32).toString('base64url')}`
  return { id, text, sha256: sha256(text) }
}

/** The id of what has the form of a token. */
export function tokenId(text: string): string | undefined {
  return form.exec(text)?.[1]
}

export function sha256(text: string): Buffer {
  return createHash('sha256').update(text).digest()
}
