/** A string, or a number outside of strings. */
const TOKEN = /"[^"\\]*(?:\\.[^"\\]*)*"|-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?/g
/** No text of PostgreSQL holds a NUL: what begins with one is a number, as it was written. */
const NUMBER = '\0'
/** Beyond it the search server keeps integers as doubles, too. */
const INT64_DIGITS = 19

/**
 * True when two JSON texts mean the same document, whatever the order of their keys. Integers are compared exactly, decimals
 * as the doubles that the search server makes of them: it does not always write the fewest digits, as PostgreSQL does.
 */
export function sameDocument(row: string, stored: string): boolean {
  return isSame(parse(row), parse(stored))
}

function parse(text: string): unknown {
  return JSON.parse(text.replaceAll(TOKEN, (token) => (token.startsWith('"') ? token : `"\\u0000${token}"`)))
}

function isSame(a: unknown, b: unknown): boolean {
  if (typeof a === 'string' && typeof b === 'string') {
    return a === b || (a.startsWith(NUMBER) && b.startsWith(NUMBER) && isSameNumber(a.slice(1), b.slice(1)))
  }
  if (Array.isArray(a) && Array.isArray(b)) {
    return a.length === b.length && a.every((one, index) => isSame(one, b[index]))
  }
  if (!isRecord(a) || !isRecord(b)) return a === b
  const keys = Object.keys(a)
  return keys.length === Object.keys(b).length && keys.every((key) => Object.hasOwn(b, key) && isSame(a[key], b[key]))
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

function isSameNumber(a: string, b: string): boolean {
  return isInteger(a) && isInteger(b) ? BigInt(a) === BigInt(b) : Number(a) === Number(b)
}

function isInteger(number: string): boolean {
  return /^-?\d+$/.test(number) && number.replace('-', '').length <= INT64_DIGITS
}
