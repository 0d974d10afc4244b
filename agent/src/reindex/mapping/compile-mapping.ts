import { createHash } from 'node:crypto'
import type { Mapping } from '@multiboard-sync/shared/mapping'
import { SyncError } from '@multiboard-sync/shared/sync-error'
import type { Session } from '../../postgres/session.ts'
import type { CompiledMapping } from '../compiled-mapping.ts'
import { decideDisplay, decideField, decideId, type Decision } from './decide-field.ts'
import { describeRows, faultPosition, type RowColumn } from './describe-rows.ts'
import type { FoundColumn } from './found-type.ts'
import { findSource, type Source } from './find-source.ts'
import { isUnique } from './is-unique.ts'
import { readRelations } from './read-relations.ts'
import { writeDocuments } from './write-documents.ts'
import { isChild, schemaFindings, writeSchema } from './write-schema.ts'

/*
 * A mapping meets the catalogue.
 *
 * Promises: every type is decided by one table (type-rules.ts), and what cannot be exact is refused, with what to write
 * instead; all findings at once, as `mapping-invalid`. Never: reads a row, writes, guesses a type.
 */

/** Changes with the expressions that documents are written by: another one makes other documents of the same rows. */
const WRITING = 1

/**
 * `session` may be in a transaction or not; a mapping whose query PostgreSQL refuses ends a transaction. Throws
 * `mapping-invalid`, and what a broken connection throws.
 */
export async function compileMapping(session: Session, alias: string, mapping: Mapping): Promise<CompiledMapping> {
  const findings = [...schemaFindings(mapping), ...(await encodingFindings(session))]
  const source = await findSource(mapping, session, await readRelations(session))
  if ('findings' in source) throw invalid(alias, [...source.findings, ...findings])
  const columns = await readColumns(session, source, alias, findings)
  const id = decideId(mapping.id, columns)
  const decisions = decideAll(mapping, columns)
  if ('findings' in id) findings.push(...id.findings)
  for (const { key, decision } of decisions) {
    if ('findings' in decision) findings.push(...decision.findings.map((text) => `${key}: ${text}`))
  }
  if (findings.length > 0 || 'findings' in id) throw invalid(alias, findings)
  const decided = decisions.flatMap(({ key, decision }) => ('findings' in decision ? [] : [{ key, ...decision }]))
  const schema = writeSchema(mapping)
  const idColumn = columns.get(mapping.id)
  const uniqueId = source.relation && idColumn ? await isUnique(session, source.relation, idColumn) : false
  const write = (rows: string) => writeDocuments(id.text, decided, rows)
  const { over } = source
  return {
    alias,
    mapping,
    sha256: hash({ mapping, id: id.found, found: decided.map(({ found }) => found), schema }),
    schema,
    documentsSql: write(source.rows),
    tables: source.tables,
    documentsSqlOver:
      over === undefined
        ? undefined
        : (schemas, tables) => {
            const rows = over(schemas, tables)
            return rows === undefined ? undefined : write(rows)
          },
    rows: {
      source: source.rows,
      id: id.text,
      uniqueId,
      checks: decided.flatMap(({ checks }) => checks),
      objects: decided.flatMap(({ key, jsonb }) => (jsonb === undefined ? [] : [{ field: key, jsonb }])),
    },
  }
}

/** Bytes that nobody said the meaning of would reach the search server as they are, and it drops what is not UTF-8, silently. */
async function encodingFindings(session: Session): Promise<string[]> {
  const [row] = await session.query<{ encoding: string }>(`select current_setting('server_encoding') as encoding`)
  return row?.encoding === 'SQL_ASCII'
    ? ["the database's encoding is SQL_ASCII, which does not say what its bytes mean; documents are UTF-8."]
    : []
}

/** Keys of a document with what decides them, in the mapping's order. */
function decideAll(mapping: Mapping, columns: ReadonlyMap<string, FoundColumn>): { key: string; decision: Decision }[] {
  return [
    ...mapping.fields
      .filter((field) => !isChild(field, mapping))
      .map((field) => ({ key: field.name, decision: decideField(field, columns) })),
    ...mapping.display_only.map((name) => ({ key: name, decision: decideDisplay(name, columns) })),
  ]
}

async function readColumns(
  session: Session,
  source: Source,
  alias: string,
  findings: string[],
): Promise<ReadonlyMap<string, RowColumn>> {
  let columns: RowColumn[]
  try {
    columns = await describeRows(session, source.rows)
  } catch (error) {
    if (!(error instanceof SyncError) || error.retryable || error.code === 'canceled') throw error
    throw invalid(alias, [`${source.what}: ${faultOf(error, source)}`, ...findings])
  }
  const names = columns.map(({ name }) => name)
  const twice = new Set(names.filter((name, index) => names.indexOf(name) !== index))
  findings.push(...[...twice].map((name) => `${source.what}: two columns are named \`${name}\`; name one with \`as\`.`))
  return new Map(columns.map((column) => [column.name, column]))
}

/** The server's message where it says names only, and the place, which its own position would tell of a text of ours. */
function faultOf(error: SyncError, { what, rows, offset }: Source): string {
  const position = faultPosition(error)
  if (what === 'from' || position === undefined || position < offset) return error.message
  // The server counts characters, not units of UTF-16.
  const before = Array.from(rows).slice(0, position).join('').slice(offset).split('\n')
  return `line ${before.length}, column ${Array.from(before.at(-1) ?? '').length + 1}: ${error.message}`
}

function hash(parts: { mapping: Mapping; id: string; found: string[][]; schema: object }): string {
  const { from, sql, id, fields, display_only, collection } = parts.mapping
  const said = { from, sql, id, fields, display_only, collection }
  return createHash('sha256')
    .update(JSON.stringify([WRITING, sorted(said), parts.id, parts.found, sorted(parts.schema)]))
    .digest('hex')
}

/** With the keys of all objects in order: the same mapping has the same hash however its file orders them. */
function sorted(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(sorted)
  if (typeof value !== 'object' || value === null) return value
  return Object.fromEntries(
    Object.entries(value)
      .toSorted(([a], [b]) => (a < b ? -1 : 1))
      .map(([key, one]) => [key, sorted(one)]),
  )
}

function invalid(alias: string, findings: string[]): SyncError {
  return new SyncError('mapping-invalid', `The mapping of the collection ${alias} does not fit the database.`, {
    hint: `Change \`collections.${alias}\` in agent.yaml; docs/TYPESENSE.md has the table of types.`,
    details: findings.map((finding) => `${alias}: ${finding}`),
  })
}
