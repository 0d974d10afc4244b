import type { MappedField } from '@multiboard-sync/shared/mapping'
import { quoteIdent } from '../../postgres/quote.ts'
import type { FoundColumn, FoundType } from './found-type.ts'
import { suggestName } from './suggest-name.ts'
import { findRule, NULL_ELEMENT, type TypeRule, type Unfit, type Way } from './type-rules.ts'

/** A row that cannot be a document: an SQL condition, and the end of the sentence "3 rows …". */
interface Check {
  sql: string
  says: string
}

/** How a column's values are written. `json` is an SQL expression: JSON as text, NULL where the value is left out. */
interface Decided {
  json: string
  checks: Check[]
  /** Of an object: the value as jsonb. */
  jsonb?: string
  /** What was found, for the mapping's hash. */
  found: string[]
}

export type Decision = Decided | { findings: string[] }

/** The rows are `r` in every expression. */
const column = (name: string) => `r.${quoteIdent(name)}`

/** Decides one field by the table of types. `columns` are the rows'. */
export function decideField(field: MappedField, columns: ReadonlyMap<string, FoundColumn>): Decision {
  if (field.type === 'geopoint') return decidePoint(field, columns)
  if (field.columns !== undefined) {
    return { findings: [`\`columns\` is for a geopoint; name one \`column\` for a field of type ${field.type}.`] }
  }
  const name = field.column ?? field.name
  const found = columns.get(name)
  if (found === undefined) return { findings: [unknownColumn(name, columns)] }
  const { type } = found
  const way = findWay(field, type)
  if (typeof way === 'string') return { findings: [way] }
  const value = column(name)
  const written = type.element && way.type !== 'object' ? writeArray(way, value) : way.json(value)
  const isMissing = way.jsonb ? `coalesce(jsonb_typeof(${way.jsonb(value)}), 'null') = 'null'` : `${value} is null`
  return {
    json: written,
    ...(way.jsonb ? { jsonb: way.jsonb(value) } : {}),
    checks: [...missing(field, isMissing), ...unfitChecks(field.name, way, value, type)],
    found: [type.title],
  }
}

function unknownColumn(name: string, columns: ReadonlyMap<string, FoundColumn>): string {
  return `the rows have no column \`${name}\`.${suggestName(name, [...columns.keys()])}`
}

/** The way that the table has for it, or a finding that tells the ways there are. */
function findWay(field: MappedField, type: FoundType): Way | string {
  const rule = findRule(type.element ?? type)
  const way = waysOf(rule, type).find(
    ({ way: { as, approximate }, type: written }) =>
      written === field.type &&
      (as === field.as || (as === undefined && written.startsWith('string') && field.as === 'text')) &&
      (approximate === undefined || field.approximate === true),
  )?.way
  if (way === undefined) return refusal(field, type, rule)
  if (!field.approximate || way.unfit === undefined) return way
  return { ...way, unfit: way.unfit.filter((unfit) => !unfit.approximate) }
}

/** All ways of a rule that fit the type, with the type that a field must have for them. */
export function waysOf(rule: TypeRule, type: FoundType): { way: Way; type: string }[] {
  const fitting = rule.ways.filter((way) => way.when === undefined || way.when.holds(type.element ?? type))
  const objects = type.element ? rule.objectsOfArray : rule.objects
  const own = fitting.filter((way) => !type.element || way.type !== 'object')
  const ownWays = own.map((way) => ({ way, type: type.element ? `${way.type}[]` : way.type }))
  const asObjects = objects ? [{ way: objects, type: 'object[]' }] : []
  // What is natural comes first: hints and inferred mappings begin with it.
  return type.element ? [...asObjects, ...ownWays] : [...ownWays, ...asObjects]
}

function refusal(field: MappedField, type: FoundType, rule: TypeRule): string {
  const all = waysOf(rule, type)
  const exact = new Set(all.filter(({ way }) => !way.approximate).map((one) => one.type))
  const worthy = all.filter((one) => !one.way.approximate || !exact.has(one.type))
  const ways = worthy.map(({ way, type: written }) => {
    const said = [`type: ${written}`, ...(way.as ? [`as: ${way.as}`] : [])]
    return `{ ${[...said, ...(way.approximate ? ['approximate: true'] : [])].join(', ')} }`
  })
  if (ways.length === 0) return `${type.title} cannot be searched: ${rule.instead}.`
  const asked = `${field.type}${field.as === undefined ? '' : ` as ${field.as}`}`
  return `${type.title} cannot become ${asked} exactly. Write ${ways.join(' or ')}, or ${rule.instead}.`
}

/** JSON has no line breaks here: array_to_json() writes them only when asked to. */
function writeArray(way: Way, value: string): string {
  if (way.arrayJson) return way.arrayJson(value)
  // An element that is NULL must not vanish: "null" is refused by the search server, and found as unfit before.
  const one = `coalesce(${way.json('u.e')}, 'null')`
  const all = `select string_agg(${one}, ',' order by u.n) from unnest(${value}) with ordinality as u(e, n)`
  return `case when ${value} is not null then '[' || coalesce((${all}), '') || ']' end`
}

function missing(field: MappedField, isMissing: string): Check[] {
  if (field.optional) return []
  return [{ sql: isMissing, says: `have no value for ${field.name}, which is not optional` }]
}

function unfitChecks(field: string, way: Way, value: string, type: FoundType): Check[] {
  const check = (unfit: Unfit, sql: string): Check => ({ sql, says: unfit.says(field) })
  const unfit = way.unfit ?? []
  if (!type.element) return unfit.map((one) => check(one, one.sql(value)))
  if (way.type === 'object') return unfit.map((one) => check(one, one.sql(value)))
  const some = (condition: string) => `exists (select from unnest(${value}) as u(e) where ${condition})`
  return [
    { sql: some('u.e is null'), says: `have a null among the elements of ${field}` },
    { sql: `array_ndims(${value}) > 1`, says: `have an array of arrays in ${field}` },
    ...unfit.map((one) => check(one, some(one.sql('u.e')))),
  ]
}

/** Degrees, which the server keeps as doubles. */
function decidePoint(field: MappedField, columns: ReadonlyMap<string, FoundColumn>): Decision {
  if (field.columns === undefined || field.column !== undefined) {
    return { findings: ['a geopoint is made of two columns: write `columns: [latitude, longitude]`.'] }
  }
  const findings: string[] = []
  if (field.as !== undefined) findings.push('`as` is not for a geopoint.')
  const [latitude, longitude] = field.columns.map((name, at): { json: string; check: Check; title: string } => {
    const found = columns.get(name)
    if (found === undefined) findings.push(unknownColumn(name, columns))
    const part = found && findWay({ ...field, type: 'float' }, found.type)
    if (typeof part === 'string') findings.push(`\`${name}\`: ${part.replaceAll('type: float, ', '')}`)
    const limit = at === 0 ? 90 : 180
    const value = column(name)
    return {
      json: typeof part === 'object' ? part.json(value) : '',
      check: {
        sql: `not (${value} between -${limit} and ${limit})`,
        says: `have a ${at === 0 ? 'latitude' : 'longitude'} beyond ${limit} degrees in ${field.name}`,
      },
      title: found?.type.title ?? '',
    }
  })
  if (findings.length > 0 || !latitude || !longitude) return { findings }
  const written = `'[' || ${latitude.json} || ',' || ${longitude.json} || ']'`
  return {
    json: written,
    checks: [...missing(field, `(${written}) is null`), latitude.check, longitude.check],
    found: [latitude.title, longitude.title],
  }
}

/** Stored and not indexed: every type that a field may have, as it is in JSON. */
export function decideDisplay(name: string, columns: ReadonlyMap<string, FoundColumn>): Decision {
  const found = columns.get(name)
  if (found === undefined) return { findings: [unknownColumn(name, columns)] }
  const { type } = found
  const rule = findRule(type.element ?? type)
  if (rule.ways.length === 0) return { findings: [`${type.title} cannot be stored: ${rule.instead}.`] }
  const value = column(name)
  const canHoldNull = type.element !== undefined || rule.ways.some((way) => way.type === 'object')
  const checks = canHoldNull ? [{ sql: NULL_ELEMENT.sql(value), says: NULL_ELEMENT.says(name) }] : []
  return { json: displayJson(rule, value, type), checks, found: [type.title] }
}

function displayJson(rule: TypeRule, value: string, type: FoundType): string {
  const ways = waysOf(rule, type)
  const object = ways.find(({ way }) => way.type === 'object')
  if (object) return object.way.json(value)
  const isWide = rule.types.includes('numeric') && !ways.some(({ way }) => way.type === 'float' && !way.approximate)
  const isText = rule.types.includes('text') || rule.types.includes('other') || isWide
  return `to_json(${value}${isText ? `::text${type.element ? '[]' : ''}` : ''})::text`
}

/** The text of a document's id. */
export function decideId(
  name: string,
  columns: ReadonlyMap<string, FoundColumn>,
): { text: string; found: string } | { findings: string[] } {
  const found = columns.get(name)
  if (found === undefined) {
    const finding = `${unknownColumn(name, columns)} Name the column of the document's id with \`id:\`.`
    return { findings: [`id: ${finding}`] }
  }
  const rule = findRule(found.type.element ?? found.type)
  if (found.type.element || !rule.id) {
    return { findings: [`id: ${found.type.title} cannot be an id; cast it to text in \`sql:\`.`] }
  }
  return { text: rule.id(column(name)), found: found.type.title }
}
