/*
 * Follows SQL text line by line just far enough to know whether a line begins outside of everything: strings, quoted
 * names, dollar quotes, comments. Assumes standard_conforming_strings = on, as pg_dump does.
 */

/** What a line begins inside of; undefined outside of everything. Dollar quotes are named by their tag: `$body$`. */
export type Inside = undefined | "'" | "e'" | '"' | `/*${number}` | `$${string}$`

export interface Scanned {
  inside: Inside
  /** The last thing on the line outside of comments is a semicolon: a statement may have ended. */
  endsStatement: boolean
  /** Nothing but white space and comments. */
  blank: boolean
}

const dollarTag = /\$(?:[\p{L}_][\p{L}\p{N}_]*)?\$/uy
const partOfName = /[\p{L}\p{N}_$]/u

export function scanSql(line: string, begins: Inside): Scanned {
  let inside = begins
  let last = begins === undefined || begins.startsWith('/*') ? '' : begins
  let at = 0
  while (at < line.length) {
    if (inside === undefined) {
      if (line.startsWith('--', at)) break
      const opened = opening(line, at)
      inside = opened.inside
      at += opened.length
      if (inside?.startsWith('/*') !== true && opened.text.trim() !== '') last = opened.text
    } else {
      const closed = closing(line, at, inside)
      inside = closed.inside
      at = closed.next
    }
  }
  return { inside, endsStatement: inside === undefined && last === ';', blank: last === '' }
}

function opening(line: string, at: number): { inside: Inside; length: number; text: string } {
  const text = line.charAt(at)
  const before = line.charAt(at - 1)
  if (text === "'") {
    const escapes = /[eE]/.test(before) && !partOfName.test(line.charAt(at - 2))
    return { inside: escapes ? "e'" : "'", length: 1, text }
  }
  if (text === '"') return { inside: '"', length: 1, text }
  if (line.startsWith('/*', at)) return { inside: '/*1', length: 2, text: '' }
  if (text === '$' && !partOfName.test(before)) {
    dollarTag.lastIndex = at
    const tag = dollarTag.exec(line)?.[0]
    if (tag !== undefined) return { inside: tag as Inside, length: tag.length, text: tag }
  }
  return { inside: undefined, length: 1, text }
}

function closing(line: string, at: number, inside: Exclude<Inside, undefined>): { inside: Inside; next: number } {
  if (inside.startsWith('/*')) {
    const depth = Number(inside.slice(2))
    if (line.startsWith('/*', at)) return { inside: `/*${depth + 1}`, next: at + 2 }
    if (line.startsWith('*/', at)) return { inside: depth === 1 ? undefined : `/*${depth - 1}`, next: at + 2 }
    return { inside, next: at + 1 }
  }
  if (inside === "e'" && line.charAt(at) === '\\') return { inside, next: at + 2 }
  const end = inside === "e'" ? "'" : inside
  // A doubled quote closes and opens again, which comes to the same, but for the kind of string.
  if (inside === "e'" && line.startsWith("''", at)) return { inside, next: at + 2 }
  if (line.startsWith(end, at)) return { inside: undefined, next: at + end.length }
  return { inside, next: at + 1 }
}
