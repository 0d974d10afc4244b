import { formatTableName, type TableName } from '@multiboard-sync/shared/table-pattern'
import { quoteIdent } from '../../postgres/quote.ts'
import type { Session } from '../../postgres/session.ts'
import { movedName } from './moved-name.ts'
import { readSql, type Chain } from './read-sql.ts'
import { nameOf, neverRefreshed, tablesBehind, type Relation, type Relations } from './read-relations.ts'
import type { FoundSource } from './find-source.ts'

/** A place in the query where a relation is named: `schema.table`, or the beginning of `schema.table.column`. */
interface Reference {
  relation: Relation
  /** Of the schema's name. */
  start: number
  end: number
}

/** The rows of `sql:`. `needed` are the relations of depends_on. */
export async function fromQuery(
  sql: string,
  needed: Relation[],
  session: Session,
  relations: Relations,
): Promise<FoundSource> {
  const { chains, findings } = readSql(sql)
  const references = chains.flatMap((chain) => referenceOf(chain, relations))
  const read = [...new Set(references.map(({ relation }) => relation))]
  const uncovered = read.filter((relation) => !isCovered(relation, needed, relations))
  findings.push(
    ...uncovered.map(
      (relation) =>
        `the query reads ${formatTableName(relation)}: add it to \`depends_on\`, so that its changes reach the documents.`,
    ),
  )
  const callsOwn = chains.some(({ words, isCall }) => isCall && words.length > 1 && words[0]?.name !== 'pg_catalog')
  if (read.length + needed.length === 0 && callsOwn)
    findings.push('name in `depends_on` the tables that its functions read, so that their changes reach the documents.')
  findings.push(...read.filter(({ isReadable }) => !isReadable).map(neverRefreshed))
  if (findings.length > 0) return { findings: findings.map((finding) => `sql: ${finding}`) }
  const canMove = read.every(({ kind }) => kind !== 'v' && kind !== 'm') && areAlone(chains, references)
  return {
    what: 'sql',
    rows: bracketed(sql),
    offset: bracketed(sql).indexOf(sql),
    tables: tablesBehind([...read, ...needed], relations).map(nameOf),
    relation: undefined,
    over:
      canMove && (await areFixed(session, chains, relations))
        ? (schemas, tables) => moved(sql, references, schemas, tables, relations)
        : undefined,
  }
}

/** On lines of their own, so that a comment at the query's end ends. */
function bracketed(sql: string): string {
  return `(\n${sql}\n) as r`
}

function referenceOf({ words, isCall }: Chain, relations: Relations): Reference[] {
  // The database's own name may stand before them.
  for (const at of [0, 1]) {
    const [schema, name] = words.slice(at)
    if (!schema || !name || (isCall && words.length === at + 2)) return []
    const relation = relations.find({ schema: schema.name, name: name.name })
    if (relation) return [{ relation, start: schema.start, end: schema.end }]
  }
  return []
}

/** Itself named, or as a view by all the tables that it reads. */
function isCovered(relation: Relation, needed: Relation[], relations: Relations): boolean {
  const named = new Set(needed)
  if (named.has(relation) || (relation.parent !== null && isParentNamed(relation, named, relations))) return true
  if (relation.kind !== 'v' && relation.kind !== 'm') return false
  const behind = tablesBehind(needed, relations)
  return tablesBehind([relation], relations).every((table) => behind.includes(table))
}

function isParentNamed({ parent }: Relation, named: ReadonlySet<Relation>, relations: Relations): boolean {
  const above = parent === null ? undefined : relations.byOid.get(parent)
  return above !== undefined && (named.has(above) || isParentNamed(above, named, relations))
}

/**
 * Whether the schemas' names stand for nothing else in the query: an alias that is called as a schema could be meant where a
 * table seems to be.
 */
function areAlone(chains: Chain[], references: Reference[]): boolean {
  const schemas = new Set(references.map(({ relation }) => relation.schema))
  const starts = new Set(references.map(({ start }) => start))
  return chains.every(({ words, isCall }) =>
    words.every(
      (word, index) =>
        !schemas.has(word.name) || starts.has(word.start) || (index === 0 && words.length === 2 && isCall),
    ),
  )
}

/** Functions of the user's may read tables under their live names, but for those that promise to read nothing. */
async function areFixed(session: Session, chains: Chain[], relations: Relations): Promise<boolean> {
  const called = chains.filter(({ isCall, words }) => isCall && words.length > 1).map(({ words }) => words)
  if (called.some((words) => words.length > 2 || relations.find(pair(words)))) return false
  const [answer] = await session.query<{ fixed: boolean }>(FIXED_SQL, [
    called.map((words) => pair(words).schema),
    called.map((words) => pair(words).name),
  ])
  return answer?.fixed === true
}

function pair(words: Chain['words']): TableName {
  return { schema: words[0]?.name ?? '', name: words[1]?.name ?? '' }
}

const FIXED_SQL = `
select not exists (
  select from unnest($1::text[], $2::text[]) as c(schema, name)
  join pg_catalog.pg_namespace n on n.nspname = c.schema
  join pg_catalog.pg_proc p on p.pronamespace = n.oid and p.proname = c.name
  where n.nspname <> 'pg_catalog' and p.provolatile <> 'i'
    and not exists (select from pg_catalog.pg_depend d
                    where d.classid = 'pg_catalog.pg_proc'::regclass and d.objid = p.oid and d.deptype = 'e')
) as fixed`

/** The query with the schemas' names replaced; the tables keep their names, so that whatever refers to them does so still. */
function moved(
  sql: string,
  references: Reference[],
  schemas: ReadonlyMap<string, string>,
  tables: TableName[],
  relations: Relations,
): string | undefined {
  let text = ''
  let at = 0
  for (const { relation, start, end } of references) {
    const name = movedName(relation, schemas, tables, relations)
    if (name === undefined) return undefined
    text += `${sql.slice(at, start)}${quoteIdent(name.schema)}`
    at = end
  }
  return bracketed(text + sql.slice(at))
}
