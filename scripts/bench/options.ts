import { parseArgs } from 'node:util'

export const USAGE = `usage: pnpm bench [options]
  --rows N           components of the parts database (800000: 1.6 GB); or
  --gb N             size of the database in PostgreSQL
  --table-only       one big table instead of the parts database
  --tables N         N small tables instead, of 20 rows each
  --rounds 5         each contestant so often, by turns
  --only a,b         contestants: sync, create, archive, readers, dump, pgcopydb (all)
  --variants a,b     of sync and archive: checksums-gzip, counts-gzip, checksums-zstd, counts-zstd (all)
  --major 15         PostgreSQL of both servers; pg_dump and pgcopydb take part when theirs is the same
  --connections N    the policy's connections_per_database (its default)
  --source DIR       keep the source server here, and use it again when the same rows are asked for
  --code DIR         run the agent of another checkout
  --svg FILE         draw the last traced job (--draw "sync checksums-gzip" chooses) as a Gantt chart
  --node FLAGS       more flags for the agent's Node, in one argument
  --cpu-prof DIR     V8 CPU profiles of the agent
  --json             everything that was measured, as JSON
   or: pnpm bench --readers [--components 20000] [--rounds 5] [--major 18] [--json]
                     what a swap costs others, and what the proof costs`

const contestants = ['sync', 'create', 'archive', 'readers', 'dump', 'pgcopydb'] as const
type Contestant = (typeof contestants)[number]

const variants = ['checksums-gzip', 'counts-gzip', 'checksums-zstd', 'counts-zstd'] as const
export type Variant = (typeof variants)[number]

export interface CompareOptions {
  components: number
  tableOnly: boolean
  /** Small ones instead of the parts database. */
  tables: number | undefined
  rounds: number
  only: Contestant[]
  variants: Variant[]
  major: number
  connections: number | undefined
  source: string | undefined
  code: string | undefined
  cpuProf: string | undefined
  /** More flags for the agent's Node. */
  node: string[]
}

export interface Options extends CompareOptions {
  json: boolean
  svg: string | undefined
  draw: string | undefined
  /** What a swap costs others is asked for. */
  readers: { components: number; major: number } | undefined
}

/** What PostgreSQL says of the size of the database, per component: with indexes, without the empty one's 8 MB. */
export const BYTES_PER_COMPONENT = { parts: 1980, table: 1026 }

const DECLARED = {
  rows: { type: 'string' },
  gb: { type: 'string' },
  'table-only': { type: 'boolean', default: false },
  tables: { type: 'string' },
  rounds: { type: 'string', default: '5' },
  only: { type: 'string', default: contestants.join() },
  variants: { type: 'string', default: variants.join() },
  major: { type: 'string' },
  connections: { type: 'string' },
  source: { type: 'string' },
  code: { type: 'string' },
  svg: { type: 'string' },
  draw: { type: 'string' },
  'cpu-prof': { type: 'string' },
  node: { type: 'string', default: '' },
  json: { type: 'boolean', default: false },
  readers: { type: 'boolean', default: false },
  components: { type: 'string', default: '20000' },
} as const

/** Undefined when they make no sense. */
export function parseOptions(args: string[]): Options | undefined {
  const values = parsed(args)
  if (!values) return
  const tableOnly = values['table-only']
  const rows = values.gb === undefined ? Number(values.rows ?? 800_000) : componentsOf(Number(values.gb), tableOnly)
  const [rounds, components] = [Number(values.rounds), Number(values.components)]
  const major = Number(values.major ?? (values.readers ? 18 : 15))
  const connections = values.connections === undefined ? undefined : Number(values.connections)
  const tables = values.tables === undefined ? undefined : Number(values.tables)
  if (![rows, rounds, components, major, connections ?? 1, tables ?? 1].every((n) => Number.isSafeInteger(n) && n > 0))
    return
  const only = chosen(contestants, values.only)
  const wanted = chosen(variants, values.variants)
  if (!only || !wanted) return
  return {
    components: rows,
    tableOnly,
    tables,
    rounds,
    only,
    variants: wanted,
    major,
    connections,
    source: values.source,
    code: values.code,
    cpuProf: values['cpu-prof'],
    node: values.node.split(' ').filter((flag) => flag !== ''),
    json: values.json,
    svg: values.svg,
    draw: values.draw,
    readers: values.readers ? { components, major } : undefined,
  }
}

function parsed(args: string[]) {
  try {
    return parseArgs({ args, options: DECLARED }).values
  } catch {
    // An option that there is not.
    return undefined
  }
}

function componentsOf(gigabytes: number, tableOnly: boolean): number {
  return Math.round((gigabytes * 1e9) / BYTES_PER_COMPONENT[tableOnly ? 'table' : 'parts'])
}

function chosen<Name extends string>(names: readonly Name[], list: string): Name[] | undefined {
  const asked = list.split(',').map((name) => name.trim())
  return asked.every((name) => names.some((one) => one === name))
    ? names.filter((name) => asked.includes(name))
    : undefined
}
