import { isDeepStrictEqual } from 'node:util'

/** A string, or a number outside of strings. */
const TOKEN = /"[^"\\]*(?:\\.[^"\\]*)*"|-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?/g
/** Beyond it the search server keeps integers as doubles, too. */
const INT64_DIGITS = 19

/**
 * True when two JSON texts mean the same document, whatever the order of their keys. Integers are compared exactly, decimals
 * as the doubles that the search server makes of them: it does not always write the fewest digits, as PostgreSQL does.
 */
export function sameDocument(row: string, stored: string): boolean {
  return isDeepStrictEqual(parse(row), parse(stored))
}

function parse(text: string): unknown {
  // No text of PostgreSQL holds a NUL: a number can be told from a string of the same digits.
  return JSON.parse(text.replaceAll(TOKEN, (token) => (token.startsWith('"') ? token : `"\\u0000${plain(token)}"`)))
}

function plain(number: string): string {
  const isInteger = /^-?\d+$/.test(number) && number.replace('-', '').length <= INT64_DIGITS
  return isInteger ? BigInt(number).toString() : decimal(Number(number))
}

function decimal(value: number): string {
  return Number.isInteger(value) && Math.abs(value) < 10 ** INT64_DIGITS ? BigInt(value).toString() : String(value)
}
