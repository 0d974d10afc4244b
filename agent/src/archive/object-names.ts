import { SyncError } from '@multiboard-sync/shared/sync-error'

/**
 * Names of an archive's objects, relative to its folder; those that end in .sql are stored with the codec's extension
 * behind it. Their sort order is the order in which psql must read them.
 */
export const PRE_DATA = '000-pre-data.sql'
const DATA_FOLDER = '100-data'
export const SEQUENCES = '800-sequences.sql'
export const POST_DATA = '900-post-data.sql'
export const MANIFEST = 'manifest.json'
export const MANIFEST_SIGNATURE = 'manifest.json.jws'
export const RECIPE = 'RESTORE.txt'

const KIND_FOLDERS = { export: 'archives', 'safety-backup': 'backups' } as const

/** S3 allows 1,024 bytes a key (Amazon S3 user guide, "Naming objects"); the longest name below a prefix takes 500. */
const PREFIX_MAX_BYTES = 500
/** Five digits sort right up to here; the longest table we know of needs a few hundred parts. */
const PART_MAX_NUMBER = 99_999

/** `<prefix>/archives/`, the folder of all archives of a kind. Throws SyncError `config-invalid` for an impossible prefix. */
export function kindPrefix(prefix: string, kind: keyof typeof KIND_FOLDERS): string {
  const segments = prefix.split('/').filter((segment) => segment !== '')
  if (Buffer.byteLength(prefix) > PREFIX_MAX_BYTES || segments.some((segment) => segment === '.' || segment === '..')) {
    throw new SyncError('config-invalid', 'The prefix for object names cannot be used.', {
      hint: `Set S3_PREFIX to a path of at most ${PREFIX_MAX_BYTES} bytes without . and .. in it.`,
    })
  }
  return [...segments, KIND_FOLDERS[kind], ''].join('/')
}

/** `<prefix>/archives/<id>/`, with the slash: an object's key is this and its relative name. */
export function archivePrefix(prefix: string, kind: keyof typeof KIND_FOLDERS, id: string): string {
  return `${kindPrefix(prefix, kind)}${id}/`
}

/** `100-data/public.Component/00000.sql`. `n` counts from 0. */
export function partName(table: { schema: string; name: string }, n: number): string {
  if (!Number.isInteger(n) || n < 0 || n > PART_MAX_NUMBER) throw new RangeError('The part number is out of range.')
  return `${DATA_FOLDER}/${encodeTable(table)}/${String(n).padStart(5, '0')}.sql`
}

/** `public.Component`: both names percent-encoded, so the one dot that is left parts them. ASCII without white space. */
export function encodeTable(table: { schema: string; name: string }): string {
  return `${encodeName(table.schema)}.${encodeName(table.name)}`
}

/**
 * Every byte of the UTF-8 form that is not a letter, digit, `_` or `-` becomes `%XX`. A dot is encoded too: so `.` and
 * `..` never arise, and `a.b` + `c` differs from `a` + `b.c`.
 */
export function encodeName(name: string): string {
  if (!name.isWellFormed()) throw new RangeError('A name is not valid Unicode.')
  return Array.from(Buffer.from(name), (byte) => {
    const char = String.fromCharCode(byte)
    return /[A-Za-z0-9_-]/.test(char) ? char : `%${byte.toString(16).toUpperCase().padStart(2, '0')}`
  }).join('')
}
