import type { Mapping } from '@multiboard-sync/shared/mapping'
import { formatTableName, parseTablePattern, type TableName } from '@multiboard-sync/shared/table-pattern'
import { quoteTable } from '../../postgres/quote.ts'
import type { Session } from '../../postgres/session.ts'
import { familyOf, nameOf, tablesBehind, type Relation, type Relations } from './read-relations.ts'
import { suggestName } from './suggest-name.ts'

/** Where the rows come from. */
export interface Source {
  /** For messages: `from`, `sql`. */
  what: 'from' | 'sql'
  /** What stands after `from`; the rows are `r`. */
  rows: string
  tables: TableName[]
  /** The same over tables that lie in other schemas; undefined where not every name of `rows` can be replaced. */
  over: ((schemas: ReadonlyMap<string, string>, tables: TableName[]) => string | undefined) | undefined
}

type Found = Source | { findings: string[] }

export async function findSource(mapping: Mapping, session: Session, relations: Relations): Promise<Found> {
  if ((mapping.from === undefined) === (mapping.sql === undefined)) {
    return { findings: ['write either `from` (a table or view) or `sql` (a query).'] }
  }
  const needed = findDependencies(mapping.depends_on, relations)
  if ('findings' in needed) return needed
  return mapping.from === undefined
    ? await fromQuery(mapping.sql ?? '', needed.relations, session, relations)
    : fromRelation(mapping.from, needed.relations, relations)
}

function findDependencies(
  patterns: string[],
  relations: Relations,
): { relations: Relation[] } | { findings: string[] } {
  const findings: string[] = []
  const found = patterns.flatMap((text) => {
    const pattern = parseTablePattern(text)
    const matching = relations.matching(pattern)
    if (matching.length === 0 && pattern.exact) findings.push(`depends_on: ${noTable(text, relations)}`)
    return matching
  })
  return findings.length > 0 ? { findings } : { relations: found }
}

function noTable(text: string, { all }: Relations): string {
  const names = all.map(formatTableName)
  return `no table or view is called ${text}; names are case-sensitive.${suggestName(text, names)}`
}

function fromRelation(text: string, needed: Relation[], relations: Relations): Found {
  const pattern = parseTablePattern(text)
  if (!pattern.exact) return { findings: ['from: name one table or view, without * and ?.'] }
  const [relation] = relations.matching(pattern)
  if (relation === undefined) return { findings: [`from: ${noTable(text, relations)}`] }
  return {
    what: 'from',
    rows: `${quoteTable(relation)} as r`,
    tables: tablesBehind([relation, ...needed], relations).map(nameOf),
    over: (schemas, tables) => {
      const moved = movedName(relation, schemas, tables, relations)
      return moved && `${quoteTable(moved)} as r`
    },
  }
}

/**
 * What a relation is called where `tables` lie in other schemas; undefined where it cannot be told: a view, which goes on
 * reading what it was made of, or a partitioned table of which only some partitions have moved.
 */
export function movedName(
  relation: Relation,
  schemas: ReadonlyMap<string, string>,
  tables: TableName[],
  relations: Relations,
): TableName | undefined {
  if (relation.kind === 'f') return nameOf(relation)
  if (relation.kind !== 'r' && relation.kind !== 'p') return undefined
  const moved = new Set(tables.map(formatTableName))
  const family = familyOf(relation, relations)
  const leaves = family.filter(({ kind }) => kind === 'r')
  const asked = leaves.length > 0 ? leaves : [relation]
  const count = asked.filter((one) => moved.has(formatTableName(one))).length
  if (count === 0 && !moved.has(formatTableName(relation))) return nameOf(relation)
  const schema = schemas.get(relation.schema)
  return count === asked.length && schema !== undefined ? { schema, name: relation.name } : undefined
}

async function fromQuery(sql: string, needed: Relation[], session: Session, relations: Relations): Promise<Found> {
  void session
  return {
    what: 'sql',
    rows: `(\n${sql}\n) as r`,
    tables: tablesBehind(needed, relations).map(nameOf),
    over: undefined,
  }
}
