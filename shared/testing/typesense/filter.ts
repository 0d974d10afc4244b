import { Refusal } from './answer.ts'
import { reach } from './fix-children.ts'
import type { Field } from './fields.ts'
import { WholeDouble, writeJson, type Json, type JsonObject } from './json-text.ts'
import type { StoredCollection } from './state.ts'

/** Which documents a filter means; `ids` where it names nothing but ids. */
export interface Filter {
  matches(document: JsonObject): boolean
  ids?: string[]
}

type Token = '(' | ')' | '&&' | '||' | { field: string; condition: string }
const CLAUSE =
  /\s*(?:(\(|\)|&&|\|\|)|([^\s:()&|]+)\s*:((?:\s*(?:\[(?:`(?:\\`|[^`])*`|[^\]`])*\]|`(?:\\`|[^`])*`|(?!&&|\|\|)[^[\]`)]))+))/y

export function readFilter(collection: StoredCollection, text: string): Filter {
  const tokens = cut(text.trim())
  const filter = readAny(collection, tokens)
  if (tokens.length > 0) throw malformed()
  return filter
}

const malformed = () => new Refusal(400, 'Could not parse the filter query.')

function cut(text: string): Token[] {
  const tokens: Token[] = []
  CLAUSE.lastIndex = 0
  while (CLAUSE.lastIndex < text.length) {
    const found = CLAUSE.exec(text)
    if (!found) throw malformed()
    const [, sign, field, condition] = found
    if (sign === '(' || sign === ')' || sign === '&&' || sign === '||') tokens.push(sign)
    else tokens.push({ field: field ?? '', condition: (condition ?? '').trim() })
  }
  return tokens
}

function readAny(collection: StoredCollection, tokens: Token[]): Filter {
  const filters = [readAll(collection, tokens)]
  while (tokens[0] === '||') {
    tokens.shift()
    filters.push(readAll(collection, tokens))
  }
  const [only] = filters
  if (filters.length === 1 && only) return only
  return { matches: (document) => filters.some((filter) => filter.matches(document)) }
}

function readAll(collection: StoredCollection, tokens: Token[]): Filter {
  const filters = [readOne(collection, tokens)]
  while (tokens[0] === '&&') {
    tokens.shift()
    filters.push(readOne(collection, tokens))
  }
  const [only] = filters
  if (filters.length === 1 && only) return only
  return { matches: (document) => filters.every((filter) => filter.matches(document)) }
}

function readOne(collection: StoredCollection, tokens: Token[]): Filter {
  const token = tokens.shift()
  if (token === '(') {
    const inner = readAny(collection, tokens)
    if (tokens.shift() !== ')') throw malformed()
    return inner
  }
  if (token === undefined || typeof token === 'string') throw malformed()
  return readCondition(collection, token.field, token.condition)
}

function readCondition(collection: StoredCollection, name: string, condition: string): Filter {
  const [, sign = '', rest = ''] = /^(!=|<=|>=|=|<|>|!)?\s*(.*)$/s.exec(condition) ?? []
  const values = listOf(rest)
  if (name === 'id') {
    if (rest === '') throw new Refusal(400, 'Error with filter field `id`: Filter value cannot be empty.')
    // Quoted or not, it means all of them.
    if (values.includes('*')) return { matches: () => !sign.startsWith('!') }
    const ids = new Set<unknown>(values)
    if (sign.startsWith('!')) return { matches: (document) => !ids.has(document.get('id')) }
    return { matches: (document) => ids.has(document.get('id')), ids: [...new Set(values)] }
  }
  const field = collection.fields.find((candidate) => candidate.name === name)
  if (!field) throw new Refusal(400, `Could not find a filter field named \`${name}\` in the schema.`)
  if (!field.index) throw new Refusal(400, `Field \`${name}\` is marked as a non-indexed field in the schema.`)
  const negated = sign.startsWith('!')
  const test = testOf(field, negated ? '=' : sign, values)
  return {
    matches: (document) => {
      const value = document.get(name) ?? reach(document, name.split('.'))
      if (value === undefined || value === null) return negated
      const held = Array.isArray(value) && !field.type.startsWith('geo') ? value : [value]
      return held.some(test) !== negated
    },
  }
}

/** Backticks hide commas, but not the spaces at the ends, nor a backtick after a backslash. */
function listOf(text: string): string[] {
  const inner = text.startsWith('[') && text.endsWith(']') ? text.slice(1, -1) : text
  const values: string[] = []
  let value = ''
  let quoted = false
  for (let index = 0; index < inner.length; index += 1) {
    const char = inner.charAt(index)
    if (char === '`' && inner[index - 1] === '\\') value += char
    else if (char === '`') quoted = !(quoted && value !== '')
    else if (char === ',' && !quoted) {
      values.push(value.trim())
      value = ''
    } else value += char
  }
  return value === '' ? values : [...values, value.trim()]
}

function testOf(field: Field, sign: string, values: string[]): (value: Json) => boolean {
  const type = field.type.replace('[]', '')
  if (type === 'bool') return (value) => values.includes(writeJson(value))
  if (type === 'string') {
    if (sign === '=') return (value) => typeof value === 'string' && values.some((one) => sameWords(value, one))
    return (value) => typeof value === 'string' && values.some((one) => holdsWords(value, one))
  }
  const tests = values.map((value) => numberTest(field, type, sign, value))
  return (value) => {
    const indexed = indexedNumber(type, value)
    return indexed !== undefined && tests.some((test) => test(indexed))
  }
}

function numberTest(field: Field, type: string, sign: string, text: string): (value: bigint | number) => boolean {
  const whole = type !== 'float'
  const read = (digits: string): bigint | number => {
    const fits = whole ? /^-?\d+$/.test(digits) : digits !== '' && Number.isFinite(Number(digits))
    if (fits && type === 'int32' && BigInt.asIntN(32, BigInt(digits)) !== BigInt(digits)) {
      throw new Refusal(400, `Error with filter field \`${field.name}\`: \`${digits}\` exceeds the range of an int32.`)
    }
    if (!fits) {
      throw new Refusal(400, `Error with filter field \`${field.name}\`: Not ${whole ? `an ${type}` : 'a float'}.`)
    }
    return whole ? BigInt(digits) : Math.fround(Number(digits))
  }
  const range = /^(-?[\d.]+?)\.\.(-?[\d.]+)$/.exec(text)
  if (range) {
    const [from, to] = [read(range[1] ?? ''), read(range[2] ?? '')]
    return (value) => value >= from && value <= to
  }
  const [, inner = '', digits = ''] = /^(<=|>=|<|>)?(.*)$/.exec(text) ?? []
  const bound = read(digits.trim())
  switch (inner || sign) {
    case '<':
      return (value) => value < bound
    case '<=':
      return (value) => value <= bound
    case '>':
      return (value) => value > bound
    case '>=':
      return (value) => value >= bound
    default:
      return (value) => value === bound
  }
}

/** What the index holds, which is not what is stored: an int32 wraps, a float has 24 bits. */
export function indexedNumber(type: string, value: Json): bigint | number | undefined {
  const plain = value instanceof WholeDouble ? value.value : value
  if (typeof plain !== 'number' && typeof plain !== 'bigint') return undefined
  if (type === 'float') return Math.fround(Number(plain))
  if (!Number.isInteger(plain) && typeof plain !== 'bigint') return undefined
  return BigInt.asIntN(type === 'int32' ? 32 : 64, BigInt(plain))
}

export function wordsOf(text: string): string[] {
  return text
    .normalize('NFKD')
    .replaceAll(/\p{M}/gu, '')
    .toLowerCase()
    .split(/[^\p{L}\p{N}]+/u)
    .filter((word) => word !== '')
}

function sameWords(value: string, asked: string): boolean {
  const words = wordsOf(asked)
  if (asked.endsWith('*')) return wordsOf(value).slice(0, words.length).join(' ').startsWith(words.join(' '))
  return wordsOf(value).join(' ') === words.join(' ')
}

function holdsWords(value: string, asked: string): boolean {
  const held = wordsOf(value)
  return wordsOf(asked).every((word) => held.includes(word))
}
