import { aliasSchema } from '@multiboard-sync/shared/job'
import { SyncError } from '@multiboard-sync/shared/sync-error'
import { formatTableName, parseTablePattern } from '@multiboard-sync/shared/table-pattern'
import { quoteIdent, quoteTable } from '../../postgres/quote.ts'
import type { Session } from '../../postgres/session.ts'
import { describeRows } from './describe-rows.ts'
import { canBeId, inferFields, type InferredColumn } from './infer-fields.ts'
import { neverRefreshed, readRelations, type Relation } from './read-relations.ts'
import { suggestName } from './suggest-name.ts'
import { yamlText } from './yaml-text.ts'

/**
 * A first mapping for a table or view, as YAML that stands in agent.yaml as it is: `collections:` with one alias. Comments say
 * what was decided, and why a column is left out. Throws `table-unknown`, and `mapping-invalid` where no column can be an id.
 */
export async function inferMapping(session: Session, tableText: string): Promise<string> {
  const relation = await findRelation(session, tableText)
  const columns = await readColumns(session, relation)
  const key = await readKey(session, relation)
  const id = chooseId(relation, columns, key)
  const fields = inferFields(columns, id.column)
  return [
    'collections:',
    '  # The alias that applications search; call it as you like.',
    `  ${yamlText(aliasOf(relation.name))}:`,
    ...id.lines.map((line) => `    ${line}`),
    '    # Types are exact, or refused. What may be missing is optional; `facet`, `sort`, `infix` and others may be added.',
    '    fields:',
    ...fields.lines.map((line) => `      ${line}`),
    ...(fields.leftOut.length > 0 ? ['    # Left out:', ...fields.leftOut.map((line) => `    #   ${line}`)] : []),
    '    # Stored with the document and not searched, such as the URL of a picture: take columns out of `fields` for it.',
    '    display_only: []',
    ...collectionLines(fields.sorting, fields.hasObjects),
  ].join('\n')
}

async function findRelation(session: Session, text: string): Promise<Relation> {
  const pattern = parseTablePattern(text)
  const { all } = await readRelations(session)
  const found = all.filter(pattern.matches)
  const [only] = found
  if (only !== undefined && found.length === 1) {
    if (only.isReadable) return only
    throw new SyncError('mapping-invalid', `${formatTableName(only)} holds nothing that could be looked at.`, {
      details: [neverRefreshed(only)],
      hint: 'Run REFRESH MATERIALIZED VIEW, then try again.',
    })
  }
  const near = suggestName(text.includes('.') ? text : `public.${text}`, all.map(formatTableName)).trim()
  throw new SyncError(
    'table-unknown',
    found.length === 0 ? `No table or view is called ${text}.` : `${text} is more than one table.`,
    {
      hint: near || 'Names are case-sensitive; write schema.table.',
    },
  )
}

async function readColumns(session: Session, relation: Relation): Promise<InferredColumn[]> {
  const columns = await describeRows(session, `${quoteTable(relation)} as r`)
  const found = await session.query<{ number: number }>(
    `select attnum::int4 as number from pg_catalog.pg_attribute where attrelid = $1::oid and attnotnull and attnum > 0`,
    [relation.oid],
  )
  const never = new Set(found.map(({ number }) => number))
  return columns.map((column) => ({ ...column, notNull: never.has(column.columnNumber) }))
}

/** The columns of the primary key, or of a unique key of one column that is never null. */
async function readKey(session: Session, relation: Relation): Promise<string[]> {
  const [key] = await session.query<{ columns: string[] }>(
    `select array(select a.attname::text
                  from unnest(x.indkey::int2[]) with ordinality as k(attnum, place)
                  join pg_catalog.pg_attribute a on a.attrelid = x.indrelid and a.attnum = k.attnum
                  where k.place <= x.indnkeyatts order by k.place) as columns
     from pg_catalog.pg_index x
     left join pg_catalog.pg_attribute f on f.attrelid = x.indrelid and f.attnum = x.indkey[0] and f.attnotnull
     where x.indrelid = $1::oid and x.indisvalid
       and (x.indisprimary or x.indisunique and x.indnkeyatts = 1 and x.indpred is null and f.attnum is not null)
     order by x.indisprimary desc, x.indexrelid
     limit 1`,
    [relation.oid],
  )
  return key?.columns ?? []
}

interface ChosenId {
  /** Undefined for one that is put together. */
  column: string | undefined
  lines: string[]
}

function chooseId(relation: Relation, columns: InferredColumn[], key: string[]): ChosenId {
  const from = `from: ${yamlText(formatTableName(relation))}`
  const [first] = key
  const usable = columns.filter((column) => canBeId(column))
  if (key.length === 1 && usable.some(({ name }) => name === first)) {
    return { column: first, lines: [from, `id: ${yamlText(first ?? '')} # the key`] }
  }
  if (key.length > 1 && key.every((name) => usable.some((column) => column.name === name))) {
    return { column: undefined, lines: compositeLines(relation, columns, key) }
  }
  const guess = usable.find(({ name }) => name.toLowerCase() === 'id') ?? usable[0]
  if (guess === undefined) {
    throw new SyncError('mapping-invalid', `No column of ${formatTableName(relation)} can be the id of a document.`, {
      hint: 'Write a mapping with `sql:` that makes an id as text.',
    })
  }
  const why =
    '# There is no key to take the id from: this column must be unique and never null. `collections check` looks.'
  return { column: guess.name, lines: [from, why, `id: ${yamlText(guess.name)}`] }
}

function compositeLines(relation: Relation, columns: InferredColumn[], key: string[]): string[] {
  const id = columns.some(({ name }) => name === 'document_id') ? 'document_id_of_key' : 'document_id'
  const parts = key.map((name) => `r.${quoteIdent(name)}`).join(', ')
  const sql = [`select r.*, concat_ws('/', ${parts}) as ${id}`, `from ${quoteTable(relation)} as r`]
  const isPlain = sql.every((line) => !/[\n\r\t]/.test(line))
  return [
    `# The key has ${key.length} columns and a document one id: the query puts them together. Its text must be as unique as they are.`,
    ...(isPlain ? ['sql: |', ...sql.map((line) => `  ${line}`)] : [`sql: ${JSON.stringify(sql.join(' '))}`]),
    `depends_on: [${yamlText(formatTableName(relation))}]`,
    `id: ${id}`,
  ]
}

function collectionLines(sorting: string | undefined, hasObjects: boolean): string[] {
  const lines = [
    ...(sorting === undefined
      ? []
      : [`      default_sorting_field: ${yamlText(sorting)} # what comes first where a search asks for no order`]),
    ...(hasObjects ? ['      enable_nested_fields: true # objects need it'] : []),
  ]
  return lines.length === 0 ? [] : ['    collection:', ...lines]
}

/** `Order Details` to `order-details`. */
function aliasOf(name: string): string {
  const plain = name
    .normalize('NFKD')
    .replaceAll(/([a-z0-9])([A-Z])/g, '$1-$2')
    .toLowerCase()
    .replaceAll(/[^a-z0-9_]+/g, '-')
    .replaceAll(/_{2,}/g, '_')
    .replaceAll(/^[-_]+|[-_]+$/g, '')
    .slice(0, 60)
  return aliasSchema.safeParse(plain).success ? plain : 'documents'
}
