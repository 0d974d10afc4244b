import type { AgentEvent } from '@multiboard-sync/shared/event'

/** What an event may carry: JSON, names and numbers, never rows or secrets. */
export type JsonRecord = AgentEvent['data']
type Json = JsonRecord[string]

export type Redact = (text: string) => string

const MASK = '***'
/** Shorter secrets are masked only where they stand alone: replacing "abc" everywhere would garble every text. */
const SAFE_TO_REPLACE_ANYWHERE = 6

/** `scheme://user:password@` and `scheme://user@`; the last @ before the path ends them, passwords may hold an @ too. */
const URL_CREDENTIALS = /\b([a-z][a-z0-9+.-]*:\/\/)[^\s/'"<>]*@/gi
/** libpq's keyword form, SQL's `password '…'`, and the parameters of presigned URLs and connection strings. */
const PASSWORD_ASSIGNMENTS =
  /\b(password|passwd|pwd|pgpassword|secret_access_key|x-amz-signature|x-amz-credential|x-amz-security-token)(\s*=\s*|\s+(?='))('(?:[^'\\]|\\.|'')*'|[^\s&"']+)/gi

/**
 * Makes the function every text goes through before it leaves the agent. `secrets` are the configured values (passwords,
 * keys, whole URLs); they are masked as they are, percent-encoded and as JSON writes them. The second line of defence:
 * the first is that errors and events are made of names and codes.
 */
export function createRedactor(secrets: readonly string[]): Redact {
  const variants = new Set(
    secrets
      .filter((secret) => secret.trim().length > 0)
      .flatMap((secret) => [secret, encodeURIComponent(secret.toWellFormed()), JSON.stringify(secret).slice(1, -1)]),
  )
  // The longest first, so that a URL disappears whole before the password inside it does.
  const patterns = [...variants]
    .toSorted((a, b) => b.length - a.length)
    .map((text) => {
      const literal = text.replaceAll(/[\\^$.*+?()[\]{}|/]/g, String.raw`\$&`)
      const isLong = text.length >= SAFE_TO_REPLACE_ANYWHERE
      return new RegExp(isLong ? literal : `(?<![\\p{L}\\p{N}])${literal}(?![\\p{L}\\p{N}])`, 'gu')
    })
  return (text) => {
    let clean = text
    for (const pattern of patterns) clean = clean.replace(pattern, MASK)
    return clean.replace(URL_CREDENTIALS, `$1${MASK}@`).replace(PASSWORD_ASSIGNMENTS, `$1$2${MASK}`)
  }
}

/** The same data with every string redacted, keys included. What JSON cannot hold (undefined, NaN) is left out or null. */
export function redactRecord(data: Record<string, unknown>, redact: Redact): JsonRecord {
  const entries = Object.entries(data).flatMap(([key, value]) => {
    const clean = redactValue(value, redact)
    return clean === undefined ? [] : [[redact(key), clean] as const]
  })
  return Object.fromEntries(entries)
}

function redactValue(value: unknown, redact: Redact): Json | undefined {
  switch (typeof value) {
    case 'string':
      return redact(value)
    case 'number':
      return Number.isFinite(value) ? value : null
    case 'boolean':
      return value
    case 'bigint':
      return value.toString()
    case 'object':
      if (value === null) return null
      if (Array.isArray(value)) return value.map((item) => redactValue(item, redact) ?? null)
      if (value instanceof Date) return value.toISOString()
      return redactRecord({ ...value }, redact)
    case 'undefined':
    case 'function':
    case 'symbol':
      return undefined
  }
}
