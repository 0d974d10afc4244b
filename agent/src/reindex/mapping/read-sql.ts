import { skipToken } from '../../postgres/sql-lexer.ts'

/*
 * What can be told of a query without a parser: the names in it, by PostgreSQL's lexical rules. Sessions have no search_path,
 * so that every table in a query bears its schema, and a name without a dot is a column, an alias or a common table expression.
 */

interface Word {
  /** As PostgreSQL means it: unquoted names in lower case. */
  name: string
  quoted: boolean
  start: number
  /** Exclusive. */
  end: number
}

/** Names joined by dots: `public."Component".id`. */
export interface Chain {
  words: Word[]
  /** An opening bracket follows: a function, or a type with a modifier. */
  isCall: boolean
}

export interface SqlText {
  chains: Chain[]
  /** What makes it unfit to stand in brackets as one query. Names and places, not what the text says. */
  findings: string[]
}

const unquoted = /[A-Za-z_\u0080-\uffff][A-Za-z0-9_$\u0080-\uffff]*/y
const number = /\.?[0-9][0-9A-Za-z_.]*/y
const space = /\s+/y
const escapeString = /^'(?:[^'\\]|\\.|'')*'$/s

export function readSql(sql: string): SqlText {
  const { words, puncts, findings } = lex(sql)
  const chains: Chain[] = []
  let chain: Chain | undefined
  let isJoined = false
  const tokens = [
    ...words.map((word) => ({ word, at: word.start })),
    ...puncts.map((punct) => ({ punct, at: punct.at })),
  ]
  for (const token of tokens.toSorted((a, b) => a.at - b.at)) {
    if ('word' in token) {
      if (chain === undefined || !isJoined) chains.push((chain = { words: [], isCall: false }))
      chain.words.push(token.word)
      isJoined = false
    } else {
      isJoined = token.punct.text === '.' && chain !== undefined
      if (token.punct.text === '(' && chain) chain.isCall = true
      if (!isJoined) chain = undefined
    }
  }
  return { chains, findings: [...findings, ...shapeFindings(sql, puncts), ...wordFindings(chains)] }
}

interface Punct {
  text: string
  at: number
}

function lex(sql: string): { words: Word[]; puncts: Punct[]; findings: string[] } {
  const words: Word[] = []
  const puncts: Punct[] = []
  const findings: string[] = []
  for (let at = 0; at < sql.length;) {
    const start = at
    const char = sql.charAt(at)
    const blank = matchAt(space, sql, at)
    const name = matchAt(unquoted, sql, at)
    if (blank !== undefined) at += blank.length
    else if (/^u&["']/i.test(sql.slice(at, at + 3))) {
      findings.push(`${place(sql, at)}: write names and strings without U&.`)
      at = skipToken(sql, at + 2)
    } else if (name !== undefined && /^e$/i.test(name) && sql[at + 1] === "'") {
      at = skipToken(sql, at + 1)
      if (!escapeString.test(sql.slice(start + 1, at))) findings.push(`${place(sql, start)}: this string has no end.`)
    } else if (name !== undefined) {
      at += name.length
      words.push({ name: name.replaceAll(/[A-Z]+/g, (part) => part.toLowerCase()), quoted: false, start, end: at })
    } else if (char === '"') {
      at = quotedEnd(sql, at)
      if (at > sql.length) findings.push(`${place(sql, start)}: this name has no end.`)
      words.push({ name: sql.slice(start + 1, at - 1).replaceAll('""', '"'), quoted: true, start, end: at })
    } else if (matchAt(number, sql, at) !== undefined) {
      at += matchAt(number, sql, at)?.length ?? 1
      puncts.push({ text: '0', at: start })
    } else if (char === '$' && /[0-9]/.test(sql[at + 1] ?? '')) {
      findings.push(`${place(sql, at)}: a mapping has no parameters.`)
      at += 2
    } else {
      const isComment = sql.startsWith('--', at) || sql.startsWith('/*', at)
      const next = char === "'" || char === '$' || isComment ? skipToken(sql, at) : at + 1
      if (!isClosed(sql, at, next)) findings.push(`${place(sql, at)}: this string or comment has no end.`)
      at = next
      if (!isComment) puncts.push({ text: char, at: start })
    }
  }
  return { words, puncts, findings }
}

function quotedEnd(sql: string, start: number): number {
  for (let at = start + 1; at < sql.length; at += 1) {
    if (sql[at] !== '"') continue
    if (sql[at + 1] !== '"') return at + 1
    at += 1
  }
  return sql.length + 1
}

/** Of what skipToken() passed: whether it ended, or the text did. A line's comment may end with the text. */
function isClosed(sql: string, start: number, end: number): boolean {
  const piece = sql.slice(start, end)
  if (end < sql.length || piece.startsWith('--')) return true
  if (piece.startsWith('/*')) return piece.length >= 4 && piece.endsWith('*/')
  if (piece.startsWith("'")) return piece.length >= 2 && piece.endsWith("'")
  const tag = /^\$[^$]*\$/.exec(piece)?.[0]
  return tag === undefined || (piece.length >= 2 * tag.length && piece.endsWith(tag))
}

function shapeFindings(sql: string, puncts: Punct[]): string[] {
  const findings: string[] = []
  let depth = 0
  for (const { text, at } of puncts) {
    if (text === ';') findings.push(`${place(sql, at)}: one query without a semicolon, please.`)
    if (text === '(') depth += 1
    if (text === ')') depth -= 1
    if (depth < 0) return [...findings, `${place(sql, at)}: this bracket closes none.`]
  }
  return depth > 0 ? [...findings, 'a bracket is not closed.'] : findings
}

function wordFindings(chains: Chain[]): string[] {
  const words = chains.map(({ words: [first, ...rest] }) =>
    rest.length > 0 || first?.quoted ? '' : (first?.name ?? ''),
  )
  const findings: string[] = []
  if (!['select', 'with', 'values', 'table'].includes(words[0] ?? '')) findings.push('it must be a select.')
  const locks = words.some(
    (word, index) => word === 'for' && ['update', 'share', 'no', 'key'].includes(words[index + 1] ?? ''),
  )
  if (locks) findings.push('it must not lock rows (for update, for share): it is read only.')
  return findings
}

function place(sql: string, at: number): string {
  const lines = sql.slice(0, at).split('\n')
  return `line ${lines.length}, column ${(lines.at(-1) ?? '').length + 1}`
}

function matchAt(expression: RegExp, text: string, at: number): string | undefined {
  expression.lastIndex = at
  return expression.exec(text)?.[0]
}
