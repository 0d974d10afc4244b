import { SyncError } from '@multiboard-sync/shared/sync-error'

/**
 * A name as SQL, always quoted: `a""b`. The only way names get into SQL text.
 * Throws SyncError `invalid-request` for names that PostgreSQL cannot have.
 */
export function quoteIdent(name: string): string {
  if (name === '' || name.includes('\0')) throw new SyncError('invalid-request', 'A name is empty or holds a NUL.')
  return `"${name.replaceAll('"', '""')}"`
}

/** `"schema"."name"`. */
export function quoteTable(table: { schema: string; name: string }): string {
  return `${quoteIdent(table.schema)}.${quoteIdent(table.name)}`
}

/** Text as an SQL literal that means the same whatever standard_conforming_strings is. */
export function quoteLiteral(text: string): string {
  if (text.includes('\0')) throw new SyncError('invalid-request', 'A value holds a NUL.')
  const quoted = `'${text.replaceAll("'", "''").replaceAll('\\', '\\\\')}'`
  // The blank keeps the E apart from a keyword before it.
  return text.includes('\\') ? ` E${quoted}` : quoted
}
