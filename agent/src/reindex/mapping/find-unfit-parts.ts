import { quoteLiteral } from '../../postgres/quote.ts'
import type { Session } from '../../postgres/session.ts'
import type { CollectionField } from '../../typesense/typesense.ts'
import type { CompiledMapping } from '../compiled-mapping.ts'

/*
 * What is inside of objects. The search server gives a part that the schema does not name the type of the first value that it
 * meets, and refuses documents with another; which comes first is chance. So every part must have one type in all rows, or be
 * declared with one that all its values have.
 */

interface Part {
  /** Keys from the field on, joined by dots. */
  path: string
  inArray: boolean
  kind: 'string' | 'bool' | 'int32' | 'int64' | 'float'
  count: number
}

type ObjectField = NonNullable<CompiledMapping['rows']['objects']>[number]

/** A document with more kinds of trouble than this is of the wrong shape altogether. */
const MAX_PATHS = 20

/** Looking into an object costs the server some 50 µs: of more rows these many are drawn, by their ids. */
const MAX_ROWS = 50_000

/**
 * One sentence for each part whose values have not one type, or not the declared one, or are missing where they must not.
 * `rowCount`: how many rows there are, for the draw.
 */
export async function findUnfitParts(
  session: Session,
  { rows, schema }: CompiledMapping,
  rowCount: number,
): Promise<string[]> {
  const isUnder = (field: CollectionField, object: ObjectField) => field.name.startsWith(`${object.field}.`)
  const objects = (rows.objects ?? []).filter(({ field }) =>
    schema.fields.some((one) => one.index !== false && (one.name === field || one.name.startsWith(`${field}.`))),
  )
  if (objects.length === 0) return []
  const declared = schema.fields.filter((field) => objects.some((object) => isUnder(field, object)))
  const unindexed = schema.fields.filter(({ index }) => index === false).map(({ name }) => name)
  const parts = await session.query<Part>(partsSql(rows, objects, declared, rowCount))
  const byPath = Map.groupBy(parts, ({ path }) => path)
  const sentences = [...byPath].flatMap(([path, found]) => {
    const field = declared.find(({ name }) => name === path)
    if (field) return declaredSentence(field, found)
    const isIndexed = !unindexed.some((name) => path.startsWith(`${name}.`))
    return isIndexed ? mixedSentence(path, found) : []
  })
  return [
    ...sentences,
    ...(rowCount > MAX_ROWS ? await wrappedSentences(session, rows.source, objects, declared) : []),
    ...(await missingSentences(session, rows.source, objects, declared)),
  ]
}

/**
 * Parts that are declared, and of the others those whose values have more than one type. Only objects and arrays are walked
 * through a recursive query, which keeps what it walks; the many values in them are only passed through.
 */
function partsSql(
  { source, id }: CompiledMapping['rows'],
  objects: ObjectField[],
  declared: CollectionField[],
  rowCount: number,
): string {
  const every = Math.ceil(rowCount / MAX_ROWS)
  const drawn = every > 1 ? `and hashtext(${id} collate "C") % ${every} = 0` : ''
  const values = objects.map(({ field, jsonb }) => `(${quoteLiteral(field)}::text, ${jsonb})`).join(', ')
  const names = declared.map(({ name }) => quoteLiteral(name)).join(', ')
  return `
with recursive walk(path, in_array, v) as (
  select o.path, false, o.v
  from ${source} cross join lateral (values ${values}) as o(path, v)
  where jsonb_typeof(o.v) in ('object', 'array') ${drawn}
  union all
  select ${PATH}, w.in_array or e.key is null, e.value
  from walk w ${MEMBERS}
  where jsonb_typeof(e.value) in ('object', 'array')
), counted as (
  select ${PATH} as path, w.in_array or e.key is null as in_array, ${KIND} as kind, count(*) as count
  from walk w ${MEMBERS}
  where jsonb_typeof(e.value) in ('string', 'number', 'boolean')
  group by 1, 2, 3
), troubled as (
  select path from counted group by path
  having count(distinct (in_array, replace(kind, 'int32', 'int64'))) > 1${names === '' ? '' : ` or path in (${names})`}
  order by path collate "C" limit ${MAX_PATHS + declared.length}
)
select path, in_array as "inArray", kind, count::float8 as count
from counted join troubled using (path)
order by path collate "C", count desc, kind, in_array`
}

const PATH = `case when e.key is null then w.path else w.path || '.' || e.key end`

const MEMBERS = `cross join lateral (
    select key, value from jsonb_each(case jsonb_typeof(w.v) when 'object' then w.v end)
    union all
    select null, value from jsonb_array_elements(case jsonb_typeof(w.v) when 'array' then w.v end)
  ) as e`

/** Fewer than ten characters are an int32, of whatever sign. */
const KIND = `case jsonb_typeof(e.value) when 'string' then 'string' when 'boolean' then 'bool' else
    case when e.value::text like '%.%' then 'float' when length(e.value::text) < 10 then 'int32'
         when e.value::numeric between -2147483648 and 2147483647 then 'int32'
         when e.value::numeric between -9223372036854775808 and 9223372036854775807 then 'int64' else 'float' end end`

function declaredSentence({ name, type }: CollectionField, found: Part[]): string[] {
  const wrong = found.filter((part) => !fits(type, part)).reduce((sum, { count }) => sum + count, 0)
  return wrong === 0
    ? []
    : [`${values(wrong)} of ${name} ${wrong === 1 ? 'is' : 'are'} not ${type}, as the mapping says.`]
}

function fits(type: string, { kind, inArray }: Part): boolean {
  if (type === 'geopoint') return inArray && (kind === 'float' || kind.startsWith('int'))
  if (type.endsWith('[]') !== inArray) return false
  const wanted = type.replace('[]', '')
  return kind === wanted || (kind === 'int32' && wanted === 'int64') || (kind.startsWith('int') && wanted === 'float')
}

function mixedSentence(path: string, found: Part[]): string[] {
  const counts = new Map<string, number>()
  for (const { kind, inArray, count } of found) {
    const type = `${kind === 'int32' ? 'int64' : kind}${inArray ? '[]' : ''}`
    counts.set(type, (counts.get(type) ?? 0) + count)
  }
  const told = [...counts].map(([type, count]) => `${values(count)} ${type}`).join(', ')
  const types = new Set(counts.keys())
  const whole = [...types].every((type) => type === 'int64' || type === 'float')
  const arrays = [...types].every((type) => type === 'int64[]' || type === 'float[]')
  const type = whole ? 'float' : '"float[]"'
  const cure =
    whole || arrays ? `declare { name: ${nameOf(path)}, type: ${type}, optional: true }` : 'give it one type in `sql:`'
  return [`${nameOf(path)} has values of several types (${told}), and the server takes only one: ${cure}.`]
}

/** A key may be data itself: an address, a person's name. What looks like a name of a field is told. */
function nameOf(path: string): string {
  return /^[\w.-]{1,100}$/.test(path) ? path : `a part of ${path.split('.')[0] ?? ''}`
}

function values(count: number): string {
  return count === 1 ? '1 value' : `${count} values`
}

async function missingSentences(
  session: Session,
  source: string,
  objects: ObjectField[],
  declared: CollectionField[],
): Promise<string[]> {
  const required = declared.flatMap((field) => {
    const object = objects.find((one) => field.name.startsWith(`${one.field}.`))
    return object && !field.optional ? [{ field, object }] : []
  })
  if (required.length === 0) return []
  const counts = required.map(({ field, object }) => {
    const exists = `jsonb_path_exists(jsonb_strip_nulls(${object.jsonb}), ${quoteLiteral(pathOf(field, object))})`
    return `count(*) filter (where not coalesce(${exists}, false))`
  })
  const [row] = await session.query<{ counts: string[] }>(
    `select array[${counts.join(', ')}]::text[] as counts from ${source}`,
  )
  return required.flatMap(({ field }, index) => {
    const count = row?.counts[index] ?? '0'
    const have = count === '1' ? '1 row has' : `${count} rows have`
    return count === '0' ? [] : [`${have} no value for ${field.name}, which is not optional.`]
  })
}

/** What the draw has missed, the server refuses, but for these: it indexes them as other numbers. So all rows are asked. */
async function wrappedSentences(
  session: Session,
  source: string,
  objects: ObjectField[],
  declared: CollectionField[],
): Promise<string[]> {
  const whole = declared.flatMap((field) => {
    const object = objects.find((one) => field.name.startsWith(`${one.field}.`))
    return object && field.type.startsWith('int32') ? [{ field, object }] : []
  })
  if (whole.length === 0) return []
  const counts = whole.map(({ field, object }) => {
    const path = quoteLiteral(`${pathOf(field, object)} ? (@ > 2147483647 || @ < -2147483648)`)
    return `count(*) filter (where jsonb_path_exists(${object.jsonb}, ${path}))`
  })
  const [row] = await session.query<{ counts: string[] }>(
    `select array[${counts.join(', ')}]::text[] as counts from ${source}`,
  )
  return whole.flatMap(({ field }, index) => {
    const count = row?.counts[index] ?? '0'
    const have = count === '1' ? '1 row has' : `${count} rows have`
    return count === '0' ? [] : [`${have} a value of ${field.name} that is not ${field.type}, as the mapping says.`]
  })
}

function pathOf(field: CollectionField, object: ObjectField): string {
  const keys = field.name.slice(object.field.length + 1).split('.')
  return `lax $${keys.map((key) => `.${JSON.stringify(key)}`).join('')}`
}
