import { SyncError } from './sync-error.ts'

export interface TableName {
  schema: string
  name: string
}

/** Tests one table's name; keeps the text it was made from. */
export interface TablePattern {
  text: string
  readonly matches: (table: TableName) => boolean
  /** True when the text can only mean one table, so that its absence is an error. */
  exact: boolean
}

/**
 * Parses `schema.table` with `*` and `?` as wildcards. Parts may be quoted as in SQL (`"my.schema"."a""b"`): then
 * nothing in them is special. Names are never folded to lower case. Without a schema the pattern means `public`.
 * Throws SyncError `invalid-request`.
 */
export function parseTablePattern(text: string): TablePattern {
  const parts = splitParts(text)
  const [schema, name] = parts.length === 2 ? parts : [{ text: 'public', quoted: true }, parts[0]]
  if (!schema || !name || parts.length > 2) {
    throw new SyncError('invalid-request', 'A table pattern has the form schema.table.', {
      hint: 'Write names with dots in double quotes: "my.schema"."my.table".',
    })
  }
  const schemaTest = partTest(schema)
  const nameTest = partTest(name)
  return {
    text,
    exact: !isWild(schema) && !isWild(name),
    matches: (table) => schemaTest(table.schema) && nameTest(table.name),
  }
}

/** Whether parseTablePattern understands the text. */
export function isTablePattern(text: string): boolean {
  const { length } = splitParts(text)
  return length === 1 || length === 2
}

/** `public.Component`, quoted where a plain form would be read differently. parseTablePattern reads it back. */
export function formatTableName(table: TableName): string {
  return `${formatPart(table.schema)}.${formatPart(table.name)}`
}

interface NamePart {
  text: string
  quoted: boolean
}

function splitParts(text: string): NamePart[] {
  const parts: NamePart[] = []
  const part = /(?:"((?:[^"]|"")+)"|([^".]+))(?:\.|$)/gy
  let end = 0
  for (const match of text.matchAll(part)) {
    end = match.index + match[0].length
    const quoted = match[1] !== undefined
    parts.push({ text: quoted ? (match[1] ?? '').replaceAll('""', '"') : (match[2] ?? ''), quoted })
  }
  return end === text.length && !text.endsWith('.') ? parts : []
}

function isWild(part: NamePart): boolean {
  return !part.quoted && /[*?]/.test(part.text)
}

function partTest(part: NamePart): (name: string) => boolean {
  if (!isWild(part)) return (name) => name === part.text
  // A letter is a code point, as for PostgreSQL.
  const wanted = Array.from(part.text)
  return (name) => matchesGlob(wanted, Array.from(name))
}

/**
 * Whether `*` and `?` can stand for what is missing. Patterns come in orders: a regular expression of many `*` would take
 * years for one name, this takes at most a step for each pair of letters.
 */
function matchesGlob(pattern: readonly string[], name: readonly string[]): boolean {
  let [at, next] = [0, 0]
  /** After the last `*`, and the first letter that it does not swallow yet. */
  let star: { next: number; at: number } | undefined
  while (at < name.length) {
    if (pattern[next] === '*') {
      next += 1
      star = { next, at }
    } else if (next < pattern.length && (pattern[next] === '?' || pattern[next] === name[at])) {
      next += 1
      at += 1
    } else if (star) {
      // It swallows one letter more.
      star.at += 1
      ;({ next, at } = star)
    } else return false
  }
  return pattern.slice(next).every((letter) => letter === '*')
}

function formatPart(name: string): string {
  return /^[^".*?\s]+$/.test(name) ? name : `"${name.replaceAll('"', '""')}"`
}
