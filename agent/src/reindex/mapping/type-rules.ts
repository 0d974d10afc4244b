import type { FieldType, MappedField } from '@multiboard-sync/shared/mapping'
import { quoteLiteral } from '../../postgres/quote.ts'
import { numericDigits, type FoundType } from './found-type.ts'

/*
 * The one table that decides what a type of PostgreSQL may become in a document (docs/TYPESENSE.md is written from it).
 *
 * A rule names types and the ways in which they can be written. A way gives the JSON text of one value by an SQL expression
 * that is NULL only where the value is. What is exact needs nothing said; what is not is a way only with `approximate: true`.
 * Arrays of a type can be written in each of its ways, but for objects, which have a way of their own.
 *
 * Sources: SQL expressions rely on the settings of a session (postgres/session.ts): UTC, ISO dates, shortest floats.
 */

type As = MappedField['as']
type ScalarType = Exclude<FieldType, `${string}[]` | 'geopoint'>

export interface Unfit {
  /** Ends the sentence "3 rows …". */
  says: (field: string) => string
  /** True, in SQL, of a value that cannot be written. Must not fail for any value. */
  sql: (value: string) => string
  /** Let through, rounded, where the mapping says `approximate: true`. */
  approximate?: true
}

export interface Way {
  type: ScalarType
  as?: As
  /** Only where the mapping says so. */
  approximate?: true
  /** Only for some types that the rule names. */
  when?: { says: string; holds: (type: FoundType) => boolean }
  json: (value: string) => string
  /** Of a whole array; default: element by element. */
  arrayJson?: (value: string) => string
  unfit?: Unfit[]
  /** Of objects: the value as jsonb, for looking into it. */
  jsonb?: (value: string) => string
}

export interface TypeRule {
  /** Names in pg_type, of types in pg_catalog and of well-known extensions. */
  types: string[]
  /** Of the types that have no names of their own, and for the documentation. */
  title: string
  ways: Way[]
  /** The text of a document's id; undefined where it cannot be one. */
  id?: (value: string) => string
  /** Of types that can hold an array of objects themselves: as `object[]`. */
  objects?: Way
  /** Of arrays of them: as `object[]`. Their other ways are for single values. */
  objectsOfArray?: Way
  /** What to do where no way fits: ends a sentence that began with "or". */
  instead: string
}

const text = (value: string) => `${value}::text`
/** The text that the type's output function gives, which for inet is not what the cast gives. */
const output = (value: string) => `(to_json(${value}) #>> '{}')`
const jsonOfText = (value: string) => `to_json(${value}::text)::text`
const json = (value: string) => `to_json(${value})::text`
const jsonOfTexts = (value: string) => `to_json(${value}::text[])::text`

const asText: Way = { type: 'string', as: 'text', json: jsonOfText, arrayJson: jsonOfTexts }

/** A double keeps every decimal of so many digits (DBL_DIG). */
const DOUBLE_DIGITS = 15
/** The search server's index holds floats of 32 bits; what is larger would be infinite there. */
const FLOAT32_MAX = '3.4e38'

const notANumber: Unfit = {
  says: (field) => `have NaN in ${field}, which JSON does not have`,
  sql: (value) => `${value} = 'NaN'`,
}
const notFinite: Unfit = {
  says: (field) =>
    `have NaN, an infinity or a number beyond ${FLOAT32_MAX} in ${field}, which the search index does not have`,
  sql: (value) => `not (${value} between -${FLOAT32_MAX}::float8 and ${FLOAT32_MAX}::float8)`,
}
const numericNotFinite: Unfit = {
  ...notFinite,
  // 'NaN' is the largest of all numerics, and so outside like the infinities.
  sql: (value) => `not (${value} between -${FLOAT32_MAX} and ${FLOAT32_MAX})`,
}
const infiniteTime: Unfit = {
  says: (field) => `have an infinite time in ${field}`,
  sql: (value) => `not isfinite(${value})`,
}
/** ISO 8601 has other forms for years before 1 and after 9999, and few programs read them. */
const oddYear: Unfit = {
  says: (field) => `have a time before the year 1 or after 9999 in ${field}, which ISO 8601 dates do not have`,
  sql: (value) => `not (isfinite(${value}) and ${value} >= '0001-01-01' and ${value} < '10000-01-01')`,
}

const wholeUpTo = (digits: number): NonNullable<Way['when']> => ({
  says: `numeric(p,0) with p <= ${digits}`,
  holds: (type) => {
    const found = numericDigits(type)
    return found !== undefined && found.scale <= 0 && found.precision - found.scale <= digits
  },
})
const inDouble: NonNullable<Way['when']> = {
  says: `numeric(p,s) with p <= ${DOUBLE_DIGITS}`,
  holds: (type) => (numericDigits(type)?.precision ?? Infinity) <= DOUBLE_DIGITS,
}

/**
 * Rounded down also before 1970, and exact from 4713 BC to 294276 AD on every version. What most rows have takes the short
 * way: between these years a double holds every microsecond, and date_part is four times as fast as extract.
 */
const fastTime = (value: string) => `${value} >= '1970-01-01 00:00:00+00' and ${value} < '2100-01-01 00:00:00+00'`
const slowSeconds = (value: string) => `round(extract(epoch from date_trunc('second', ${value})))::bigint`
const epochOfTime: Way[] = [
  {
    type: 'int64',
    as: 'epoch_s',
    json: (value) =>
      `(case when ${fastTime(value)} then floor(date_part('epoch', ${value}))::bigint else ${slowSeconds(value)} end)::text`,
    unfit: [infiniteTime],
  },
  {
    type: 'int64',
    as: 'epoch_ms',
    json: (value) =>
      `(case when ${fastTime(value)} then round(date_part('epoch', ${value}) * 1000000)::bigint / 1000
      else ${slowSeconds(value)} * 1000 + extract(microseconds from ${value})::bigint % 1000000 / 1000 end)::text`,
    unfit: [infiniteTime],
  },
]
const epochOfDate = (perDay: number) => (value: string) => `((${value} - date '1970-01-01')::bigint * ${perDay})::text`
const iso: Way = { type: 'string', as: 'iso', json, arrayJson: json, unfit: [oddYear] }

/** Text that has nothing in it to escape. */
const quoted = (value: string) => `'"' || ${value}::text || '"'`

/** Regular expression over the text of a jsonb for numbers that may have more digits than a double. */
const LONG_NUMBER = '[0-9][0-9.]{15}'

interface ObjectWays {
  nullElement: Unfit
  object: Way
  /** Of an array of the type, or an array that the value itself is. */
  objects: Way
}

/**
 * JSON of JSON. Through jsonb, because json keeps the line breaks that it came with; what is jsonb already is not made so again,
 * which takes as long as writing it. A JSON null is left out as an SQL NULL is, also inside of objects: whether the search
 * server keeps it depends on the field and on what was there before. In an array it cannot be left out.
 * `looked` is the same for the checks, which must not fail; `first` is what it would fail for.
 */
function objectWays(jsonb: (value: string) => string, looked = jsonb, first: Unfit[] = []): ObjectWays {
  const written = (value: string) => `nullif(jsonb_strip_nulls(${jsonb(value)})::text, 'null')`
  const nullElement: Unfit = {
    says: (field) => `have a null among the elements of an array in ${field}`,
    sql: (value) => `${looked(value)}::text like '%null%'
    and jsonb_path_exists(${looked(value)}, 'strict $.** ? (@.type() == "array")[*] ? (@ == null)')`,
  }
  const wideNumber: Unfit = {
    says: (field) => `have a number in ${field} that the search server would store rounded`,
    approximate: true,
    // jsonb never writes exponents. Whole numbers of 64 bits are kept as they are; all others pass through a double.
    sql: (value) => `case when ${looked(value)}::text ~ '${LONG_NUMBER}' then exists (
    select from jsonb_path_query(${looked(value)}, 'strict $.** ? (@.type() == "number")') as j(n)
    where n::text ~ '${LONG_NUMBER}' and not case
      when n::numeric = trunc(n::numeric) and n::numeric between -9223372036854775808 and 18446744073709551615 then true
      when abs(n::numeric) < 1e300 and abs(n::numeric) > 1e-300 then n::numeric::float8::text::numeric = n::numeric
      else false end) end`,
  }
  const notObject: Unfit = {
    says: (field) => `have something else than an object in ${field}`,
    sql: (value) => `jsonb_typeof(${looked(value)}) not in ('object', 'null')`,
  }
  const notObjects: Unfit = {
    says: (field) => `have something else than an array of objects in ${field}`,
    sql: (value) => `case when jsonb_typeof(${looked(value)}) = 'array' then exists (
    select from jsonb_array_elements(${looked(value)}) as e(v) where jsonb_typeof(v) <> 'object')
    else jsonb_typeof(${looked(value)}) <> 'null' end`,
  }
  return {
    nullElement,
    object: { type: 'object', json: written, jsonb: looked, unfit: [...first, notObject, nullElement, wideNumber] },
    objects: { type: 'object', json: written, jsonb: looked, unfit: [...first, notObjects, nullElement, wideNumber] },
  }
}
const ofJsonb = objectWays((value) => value)
const ofOthers = objectWays((value) => `to_jsonb(${value})`)
/** Escapes that json takes and jsonb does not: a NUL, and halves of surrogate pairs. */
const UNREADABLE = quoteLiteral(
  String.raw`(?<!\\|\\u[dD][89aAbB][0-9a-fA-F]{2})(\\\\)*\\u([dD][c-fC-F]|0000)|(?<!\\)(\\\\)*\\u[dD][89aAbB]..(?!\\u[dD][c-fC-F])`,
)
const unreadable: Unfit = {
  says: (field) => `have a NUL or half a character in ${field}, written as an escape that jsonb does not take`,
  sql: (value) => `${value}::text ~ ${UNREADABLE}`,
}
const ofJson = objectWays(
  (value) => `to_jsonb(${value})`,
  (value) => `case when not ${unreadable.sql(value)} then to_jsonb(${value}) end`,
  [unreadable],
)

/** Of what is only stored: that it is an object does not matter there. */
export const NULL_ELEMENT = ofOthers.nullElement

const approximateFloat = (unfit: Unfit[]): Way => ({
  type: 'float',
  approximate: true,
  json: (value) => `${value}::float8::text`,
  arrayJson: (value) => `to_json(${value}::float8[])::text`,
  unfit,
})

const TAKE_OUT = "take what is searched out of it in `sql:`, such as (doc->>'width')::int4 as width"

export const TYPE_RULES: TypeRule[] = [
  {
    types: ['int2', 'int4'],
    title: 'smallint, integer',
    ways: [
      { type: 'int32', json: text, arrayJson: json },
      { type: 'int64', json: text, arrayJson: json },
      { type: 'float', json: text, arrayJson: json },
      asText,
    ],
    id: text,
    instead: 'cast it in `sql:`',
  },
  {
    types: ['int8'],
    title: 'bigint',
    ways: [{ type: 'int64', json: text, arrayJson: json }, approximateFloat([]), asText],
    id: text,
    instead: 'cast it to integer in `sql:`; the search server wraps what int32 does not hold, silently',
  },
  {
    types: ['numeric'],
    title: 'numeric',
    ways: [
      { type: 'int32', when: wholeUpTo(9), json: text, arrayJson: json, unfit: [notANumber] },
      { type: 'int64', when: wholeUpTo(18), json: text, arrayJson: json, unfit: [notANumber] },
      { type: 'float', when: inDouble, json: text, arrayJson: json, unfit: [numericNotFinite] },
      approximateFloat([numericNotFinite]),
      asText,
    ],
    id: text,
    instead: 'cast it in `sql:` to a numeric(p,s) that all values fit in',
  },
  {
    types: ['float4', 'float8'],
    title: 'real, double precision',
    ways: [{ type: 'float', json: text, arrayJson: json, unfit: [notFinite] }, asText],
    instead: 'round it in `sql:`',
  },
  {
    types: ['bool'],
    title: 'boolean',
    ways: [{ type: 'bool', json: text, arrayJson: json }, asText],
    id: text,
    instead: 'cast it in `sql:`',
  },
  {
    types: ['text', 'varchar', 'bpchar', 'name', 'citext', 'char', 'xml'],
    title: 'text, varchar, char(n) without its padding, citext, name, xml',
    ways: [{ type: 'string', json: jsonOfText, arrayJson: jsonOfTexts }],
    id: text,
    instead: 'cast it in `sql:`',
  },
  {
    types: ['uuid', 'macaddr', 'macaddr8', 'time', 'timetz', 'interval', 'bit', 'varbit'],
    title: 'uuid, macaddr, time, interval, bit',
    ways: [{ type: 'string', json: quoted, arrayJson: json }],
    id: text,
    instead: 'cast it in `sql:`',
  },
  {
    types: ['enum'],
    title: 'enums',
    ways: [{ type: 'string', json: jsonOfText, arrayJson: json }],
    id: text,
    instead: 'cast it in `sql:`',
  },
  {
    types: ['inet', 'cidr', 'range'],
    title: 'inet, cidr, ranges',
    ways: [{ type: 'string', json, arrayJson: json }],
    id: output,
    instead: 'cast it in `sql:`',
  },
  {
    types: ['date'],
    title: 'date',
    ways: [
      { type: 'int64', as: 'epoch_s', json: epochOfDate(86_400), unfit: [infiniteTime] },
      { type: 'int64', as: 'epoch_ms', json: epochOfDate(86_400_000), unfit: [infiniteTime] },
      iso,
    ],
    id: output,
    instead: 'cast it in `sql:`',
  },
  {
    types: ['timestamp', 'timestamptz'],
    title: 'timestamp (taken as UTC), timestamptz',
    ways: [...epochOfTime, iso],
    id: output,
    instead: 'cast it in `sql:`',
  },
  {
    types: ['jsonb'],
    title: 'jsonb',
    ways: [ofJsonb.object, asText],
    objects: ofJsonb.objects,
    objectsOfArray: ofOthers.objects,
    instead: TAKE_OUT,
  },
  {
    types: ['json'],
    title: 'json',
    ways: [ofJson.object, asText],
    objects: ofJson.objects,
    objectsOfArray: ofOthers.objects,
    instead: TAKE_OUT,
  },
  {
    types: ['composite'],
    title: 'composite types',
    ways: [ofOthers.object, asText],
    objectsOfArray: ofOthers.objects,
    instead: 'take its parts in `sql:`, such as (address).city as city',
  },
  refused(['bytea'], 'bytea', "write encode(column, 'base64') in `sql:`, if bytes are to be searched at all"),
  refused(['money'], 'money', 'cast it to numeric(15,2) in `sql:`: its text depends on settings of the server'),
  refused(['tsvector', 'tsquery'], 'tsvector, tsquery', 'map the text that it was made of'),
  refused(
    ['oid', 'xid', 'xid8', 'cid', 'tid', 'pg_lsn', 'refcursor', 'aclitem', 'int2vector', 'oidvector'],
    'oid and what else belongs to the server',
    'cast it to bigint or text in `sql:`, if it is meant: it is not the same in a copy',
  ),
  refused(['vector', 'halfvec', 'sparsevec'], 'vectors', 'leave it out: vectors are not carried yet'),
  refused(['record'], 'anonymous rows', 'name the parts, or make it json with jsonb_build_object'),
  {
    types: ['other'],
    title: 'all other types',
    ways: [asText],
    instead: 'cast it in `sql:` to a type that the table names',
  },
]

function refused(types: string[], title: string, instead: string): TypeRule {
  return { types, title, ways: [], instead }
}

const ruleOf = new Map(TYPE_RULES.flatMap((rule) => rule.types.map((name) => [name, rule] as const)))

/** Types that extensions bring, known by their names whatever schema they are in. */
const EXTENSION_TYPES: ReadonlySet<string> = new Set(['citext', 'vector', 'halfvec', 'sparsevec'])

/** The rule of a type that is not an array. */
export function findRule(type: FoundType): TypeRule {
  const rule = ruleOf.get(ruleName(type))
  if (rule === undefined) throw new Error('a rule for all other types is in the table')
  return rule
}

function ruleName(type: FoundType): string {
  if (type.kind === 'e') return 'enum'
  if (type.kind === 'r' || type.kind === 'm') return 'range'
  if (type.kind === 'c') return 'composite'
  if (type.kind === 'p') return 'record'
  const isKnown = ruleOf.has(type.name) && (type.schema === 'pg_catalog' || EXTENSION_TYPES.has(type.name))
  if (isKnown) return type.name
  return type.schema === 'pg_catalog' && type.name.startsWith('reg') ? 'oid' : 'other'
}
