import { writeDouble } from './write-double.ts'

/*
 * JSON as the search server keeps it: integers of 64 bits stay exact, decimals pass through a double, keys are sorted by
 * their bytes, and 1.0 stays told apart from 1. JavaScript's own JSON does none of that.
 */

/** A decimal whose value is whole: `1.0` or `1e3`. An integer is a number or a bigint. */
export class WholeDouble {
  readonly value: number
  constructor(value: number) {
    this.value = value
  }
}
export type Json = null | boolean | string | number | bigint | WholeDouble | Json[] | JsonObject
export type JsonObject = Map<string, Json>

const NUMBER = /-?(?:0|[1-9]\d*)(\.\d+)?([eE][+-]?\d+)?/y
// eslint-disable-next-line no-control-regex
const SPECIAL = /[\u0000-\u001f\\]/
const SPACE = /[ \t\r\n]*/y
const MAX_UNSIGNED = 2n ** 64n - 1n
const MIN_SIGNED = -(2n ** 63n)

interface Reading {
  text: string
  at: number
}

/** Throws BadJson with the message of the library that the server uses. */
export function parseJson(text: string): Json {
  const reading = { text, at: 0 }
  const value = readValue(reading)
  skipSpace(reading)
  if (reading.at < text.length) throw unexpected(reading, 'value', 'end of input')
  return value
}

export class BadJson extends Error {}

function skipSpace(reading: Reading): void {
  const code = reading.text.charCodeAt(reading.at)
  if (code > 32) return
  SPACE.lastIndex = reading.at
  SPACE.test(reading.text)
  reading.at = SPACE.lastIndex
}

function readValue(reading: Reading): Json {
  skipSpace(reading)
  switch (reading.text[reading.at]) {
    case '"':
      return readString(reading)
    case '{':
      return readObject(reading)
    case '[':
      return readArray(reading)
    case 't':
      return readWord(reading, 'true', true)
    case 'f':
      return readWord(reading, 'false', false)
    case 'n':
      return readWord(reading, 'null', null)
    case undefined:
    default:
      return readNumber(reading)
  }
}

function readWord<T>(reading: Reading, word: string, value: T): T {
  if (!reading.text.startsWith(word, reading.at)) {
    let wrong = 1
    while (reading.text[reading.at + wrong] === word[wrong]) wrong += 1
    throw badToken(reading, 'value', 'invalid literal', reading.at + wrong + 1)
  }
  reading.at += word.length
  return value
}

function readNumber(reading: Reading): number | bigint | WholeDouble {
  NUMBER.lastIndex = reading.at
  const found = NUMBER.exec(reading.text)
  if (!found) {
    if (reading.text[reading.at] === '-')
      throw badToken(reading, 'value', "invalid number; expected digit after '-'", reading.at + 2)
    throw unexpected(reading, 'value')
  }
  reading.at = NUMBER.lastIndex
  const [digits, fraction, exponent] = found
  const value = Number(digits)
  if (fraction === undefined && exponent === undefined) {
    if (Number.isSafeInteger(value)) return value === 0 ? 0 : value
    const exact = BigInt(digits)
    if (exact >= MIN_SIGNED && exact <= MAX_UNSIGNED) return exact
  }
  if (!Number.isFinite(value)) {
    throw new BadJson(`[json.exception.out_of_range.406] number overflow parsing '${digits}'`)
  }
  return Number.isInteger(value) ? new WholeDouble(value) : value
}

function readString(reading: Reading): string {
  const { text, at } = reading
  const end = text.indexOf('"', at + 1)
  if (end !== -1) {
    const plain = text.slice(at + 1, end)
    if (!SPECIAL.test(plain)) {
      reading.at = end + 1
      return plain
    }
  }
  return readEscaped(reading)
}

const ESCAPES = new Map([
  ['"', '"'],
  ['\\', '\\'],
  ['/', '/'],
  ['b', '\b'],
  ['f', '\f'],
  ['n', '\n'],
  ['r', '\r'],
  ['t', '\t'],
])

function readEscaped(reading: Reading): string {
  const { text, at: start } = reading
  let read = ''
  let at = start + 1
  for (;;) {
    const char = text[at]
    if (char === undefined) throw badToken(reading, 'value', 'invalid string: missing closing quote', at)
    if (char === '"') break
    if (char < ' ') {
      const code = char.charCodeAt(0).toString(16).toUpperCase().padStart(4, '0')
      const problem = `invalid string: control character U+${code} must be escaped to \\u${code}`
      throw badToken(reading, 'value', problem, at + 1)
    }
    if (char !== '\\') {
      read += char
      at += 1
      continue
    }
    const escaped = text[at + 1] ?? ''
    const plain = ESCAPES.get(escaped)
    if (plain !== undefined) {
      read += plain
      at += 2
      continue
    }
    if (escaped !== 'u') throw badToken(reading, 'value', 'invalid string: forbidden character after backslash', at + 2)
    const hex = text.slice(at + 2, at + 6)
    if (!/^[0-9a-fA-F]{4}$/.test(hex)) {
      throw badToken(reading, 'value', "invalid string: '\\u' must be followed by 4 hex digits", at + 6)
    }
    read += String.fromCharCode(Number.parseInt(hex, 16))
    at += 6
  }
  if (!read.isWellFormed()) {
    const problem = 'invalid string: surrogate U+D800..U+DBFF must be followed by U+DC00..U+DFFF'
    throw badToken(reading, 'value', problem, at)
  }
  reading.at = at + 1
  return read
}

function readObject(reading: Reading): JsonObject {
  const object: JsonObject = new Map()
  reading.at += 1
  skipSpace(reading)
  if (reading.text[reading.at] === '}') {
    reading.at += 1
    return object
  }
  for (;;) {
    skipSpace(reading)
    if (reading.text[reading.at] !== '"') throw unexpected(reading, 'object key', 'string literal')
    const key = readString(reading)
    skipSpace(reading)
    if (reading.text[reading.at] !== ':') throw unexpected(reading, 'object separator', "':'")
    reading.at += 1
    object.set(key, readValue(reading))
    skipSpace(reading)
    const next = reading.text[reading.at]
    reading.at += 1
    if (next === ',') continue
    if (next === '}') return object
    reading.at -= 1
    throw unexpected(reading, 'object', "'}'")
  }
}

function readArray(reading: Reading): Json[] {
  const array: Json[] = []
  reading.at += 1
  skipSpace(reading)
  if (reading.text[reading.at] === ']') {
    reading.at += 1
    return array
  }
  for (;;) {
    array.push(readValue(reading))
    skipSpace(reading)
    const next = reading.text[reading.at]
    reading.at += 1
    if (next === ',') continue
    if (next === ']') return array
    reading.at -= 1
    throw unexpected(reading, 'array', "']'")
  }
}

/** A token that the grammar has, at a place where it has it not; or what is no token at all. */
function unexpected(reading: Reading, context: string, expected?: string): BadJson {
  const { text, at } = reading
  const char = text[at]
  const suffix = expected === undefined ? '' : `; expected ${expected}`
  if (char === undefined) {
    return badAt(at + 1, `syntax error while parsing ${context} - unexpected end of input${suffix}`)
  }
  if ('{}[],:'.includes(char)) {
    const told = `syntax error while parsing ${context} - unexpected '${char}'${suffix}`
    return badAt(at + 1, told)
  }
  return badToken(reading, context, 'invalid literal', at + 1, suffix)
}

function badToken(reading: Reading, context: string, problem: string, end: number, suffix = ''): BadJson {
  // The library tells what it has read of the line so far, which of a short line is its beginning.
  const lastRead = reading.text.slice(reading.at === 1 ? 0 : reading.at, end)
  return badAt(end, `syntax error while parsing ${context} - ${problem}; last read: '${lastRead}'${suffix}`)
}

function badAt(column: number, problem: string): BadJson {
  return new BadJson(`[json.exception.parse_error.101] parse error at line 1, column ${column}: ${problem}`)
}

/** Text without spaces, keys sorted by their UTF-8 bytes. Takes plain objects as well; members that are undefined are left out. */
export function writeJson(value: unknown): string {
  if (typeof value === 'string') return JSON.stringify(value)
  if (typeof value === 'number') return Number.isInteger(value) ? String(value) : writeDouble(value)
  if (value instanceof WholeDouble) return writeDouble(value.value)
  if (Array.isArray(value)) return `[${value.map(writeJson).join(',')}]`
  if (value instanceof Map) return writeMembers(value)
  if (typeof value === 'object' && value !== null) return writeMembers(new Map(Object.entries(value)))
  return String(value)
}

function writeMembers(members: ReadonlyMap<string, unknown>): string {
  let written = ''
  for (const { key, label } of sortKeys(members)) {
    const member = members.get(key)
    if (member !== undefined) written += `${written === '' ? '' : ','}${label}${writeJson(member)}`
  }
  return `{${written}}`
}

interface SortedKey {
  key: string
  /** As it is written, with its colon. */
  label: string
}
/** Documents of a collection have few shapes: sorting their keys anew takes half the time of an import. */
const shapes = new Map<string, SortedKey[]>()
const SHAPES = 1000

function sortKeys(members: ReadonlyMap<string, unknown>): SortedKey[] {
  let shape = ''
  for (const key of members.keys()) shape += `${key}\u0000`
  const known = shapes.get(shape)
  if (known) return known
  const keys = [...members.keys()].sort(byBytes).map((key) => ({ key, label: `${JSON.stringify(key)}:` }))
  if (shapes.size >= SHAPES) shapes.clear()
  shapes.set(shape, keys)
  return keys
}

const ASCII = /^[\u0020-\u007e]*$/
function byBytes(left: string, right: string): number {
  if (ASCII.test(left) && ASCII.test(right)) return left < right ? -1 : Number(left > right)
  return Buffer.compare(Buffer.from(left), Buffer.from(right))
}
