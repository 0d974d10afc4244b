import type { Mapping } from '@multiboard-sync/shared/mapping'
import { formatTableName, parseTablePattern, type TableName } from '@multiboard-sync/shared/table-pattern'
import { quoteTable } from '../../postgres/quote.ts'
import type { Session } from '../../postgres/session.ts'
import { fromQuery } from './find-query.ts'
import { movedName } from './moved-name.ts'
import { nameOf, neverRefreshed, tablesBehind, type Relation, type Relations } from './read-relations.ts'
import { suggestName } from './suggest-name.ts'

/** Where the rows come from. */
export interface Source {
  /** For messages: `from`, `sql`. */
  what: 'from' | 'sql'
  /** What stands after `from`; the rows are `r`. */
  rows: string
  /** Where in `rows` the mapping's own text begins. */
  offset: number
  tables: TableName[]
  /** Of `from`. */
  relation: Relation | undefined
  /** The same over tables that lie in other schemas; undefined where not every name of `rows` can be replaced. */
  over: ((schemas: ReadonlyMap<string, string>, tables: TableName[]) => string | undefined) | undefined
}

export type FoundSource = Source | { findings: string[] }

export async function findSource(mapping: Mapping, session: Session, relations: Relations): Promise<FoundSource> {
  if ((mapping.from === undefined) === (mapping.sql === undefined)) {
    return { findings: ['write either `from` (a table or view) or `sql` (a query).'] }
  }
  const { findings, needed } = findDependencies(mapping.depends_on, relations)
  const source =
    mapping.from === undefined
      ? await fromQuery(mapping.sql ?? '', needed, session, relations)
      : fromRelation(mapping.from, needed, relations)
  if ('findings' in source) return { findings: [...findings, ...source.findings] }
  return findings.length > 0 ? { findings } : source
}

function findDependencies(patterns: string[], relations: Relations): { needed: Relation[]; findings: string[] } {
  const findings: string[] = []
  const needed = patterns.flatMap((text) => {
    const pattern = parseTablePattern(text)
    const matching = relations.all.filter(pattern.matches)
    if (matching.length === 0 && pattern.exact) findings.push(`depends_on: ${noTable(text, relations)}`)
    return matching
  })
  return { needed, findings }
}

function noTable(text: string, { all }: Relations): string {
  const near = suggestName(text.includes('.') ? text : `public.${text}`, all.map(formatTableName))
  return `no table or view is called ${text}; names are case-sensitive.${near}`
}

function fromRelation(text: string, needed: Relation[], relations: Relations): FoundSource {
  const pattern = parseTablePattern(text)
  if (!pattern.exact) return { findings: ['from: name one table or view, without * and ?.'] }
  const relation = relations.all.find(pattern.matches)
  if (relation === undefined) return { findings: [`from: ${noTable(text, relations)}`] }
  if (!relation.isReadable) return { findings: [`from: ${neverRefreshed(relation)}`] }
  const isView = relation.kind === 'v' || relation.kind === 'm'
  return {
    what: 'from',
    rows: `${quoteTable(relation)} as r`,
    offset: 0,
    tables: tablesBehind([relation, ...needed], relations).map(nameOf),
    relation,
    over: isView
      ? undefined
      : (schemas, tables) => {
          const moved = movedName(relation, schemas, tables, relations)
          return moved && `${quoteTable(moved)} as r`
        },
  }
}
