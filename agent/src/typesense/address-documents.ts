/*
 * How documents are named in requests. A filter takes many ids in backticks, but `*` in it means all of them, even quoted,
 * spaces at the ends are cut off, and a backslash hides a backtick. A path takes any id, but `..` in it is another resource:
 * DELETE of a document `..` would be the DELETE of its collection.
 */

/** A proxy often takes 8 KB; Typesense itself 400. */
const FILTER_BYTES = 4096
const FILTER_IDS = 200
/** What GET takes for itself before it looks for a document of this id. */
const ROUTES: ReadonlySet<string> = new Set(['search', 'export', 'import'])
const PLAIN_ID = /^[\p{L}\p{N}_.:@/+=,#~-](?:[\p{L}\p{N}_.:@/+=,#~\] -]*[\p{L}\p{N}_.:@/+=,#~\]-])?$/u

export interface DocumentAddresses {
  /** Values of filter_by, each for up to 200 ids. */
  filters: string[]
  /** Encoded, for a path each. */
  paths: string[]
  /** Ids that neither can name. */
  unnameable: number
}

export function addressDocuments(ids: string[]): DocumentAddresses {
  const plain = ids.filter((id) => PLAIN_ID.test(id))
  const others = ids.filter((id) => !PLAIN_ID.test(id))
  const paths = others.filter((id) => fitsPath(id)).map((id) => encodeURIComponent(id))
  return { filters: writeFilters(plain), paths, unnameable: others.length - paths.length }
}

/** The filter or the path of one document. */
export function addressDocument(id: string): { path: string } | { filter: string } | undefined {
  if (fitsPath(id)) return { path: encodeURIComponent(id) }
  return PLAIN_ID.test(id) ? { filter: `id:=[\`${id}\`]` } : undefined
}

function writeFilters(ids: string[]): string[] {
  const filters: string[] = []
  let list: string[] = []
  let bytes = 0
  const close = (): void => {
    if (list.length > 0) filters.push(`id:=[${list.map((id) => `\`${id}\``).join(',')}]`)
    list = []
    bytes = 0
  }
  for (const id of ids) {
    const idBytes = encodeURIComponent(`\`${id}\`,`).length
    if (list.length >= FILTER_IDS || bytes + idBytes > FILTER_BYTES) close()
    list.push(id)
    bytes += idBytes
  }
  close()
  return filters
}

/** Proxies and servers resolve dot segments, some of them after decoding what is encoded. A lone surrogate has no encoding. */
function fitsPath(id: string): boolean {
  return (
    id !== '' &&
    id.isWellFormed() &&
    !ROUTES.has(id) &&
    !id.split(/[/\\]/).some((part) => part === '.' || part === '..')
  )
}
