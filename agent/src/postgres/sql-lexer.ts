/** A place of interest outside of all strings, quoted names, bodies and block comments. `end` is exclusive. */
export interface Mark {
  kind: 'header' | 'setting'
  /** The header's line from `Name: ` on; the setting's name. */
  name: string
  start: number
  end: number
}

const header = /--\n-- (?:Data for |Statistics for )?(Name: [^\n]*)\n--\n/y
const setting = /SET (default_tablespace|default_table_access_method) = /y
const dollarQuote = /\$(?:[A-Za-z_\u0080-\uffff][A-Za-z0-9_\u0080-\uffff]*)?\$/y
/** Runs of text that cannot begin anything: one regular expression is much faster than a loop over characters. */
const plain = /[^'"$/\n;-]+/y
const word = /[A-Za-z0-9_$\u0080-\uffff]/

/**
 * Finds pg_dump's entry headers and its SET lines in SQL text, by PostgreSQL's lexical rules (documentation, 4.1) with
 * standard_conforming_strings on, which every dump sets first. Linear in the text's length.
 */
export function topLevelMarks(text: string): Mark[] {
  const marks: Mark[] = []
  let at = 0
  while (at < text.length) {
    const lineStart = at === 0 || text[at - 1] === '\n'
    if (lineStart) {
      const found = matchAt(header, text, at)
      if (found !== null) {
        const end = at + found[0].length
        marks.push({ kind: 'header', name: found[1] ?? '', start: at, end })
        at = end
        continue
      }
      const set = matchAt(setting, text, at)
      if (set !== null) {
        const end = statementEnd(text, at)
        marks.push({ kind: 'setting', name: set[1] ?? '', start: at, end })
        at = end
        continue
      }
    }
    at = skipToken(text, at)
  }
  return marks
}

/** The place after the `;` that ends the statement. */
function statementEnd(text: string, start: number): number {
  let at = start
  while (at < text.length) {
    if (text[at] === ';') return at + 1
    at = skipToken(text, at)
  }
  return text.length
}

/**
 * The place after what begins at `at`: a string, a quoted name, a comment, a body in dollar quotes as a whole; of other text as
 * much as can begin none of these. What is never closed goes to the text's end.
 */
export function skipToken(text: string, at: number): number {
  switch (text.charAt(at)) {
    case "'":
      return isEscapeString(text, at) ? afterEscapeString(text, at) : afterQuote(text, at, "'")
    case '"':
      return afterQuote(text, at, '"')
    case '$': {
      // `a$b$` is a name; only after something else does $b$ begin a string.
      const quote = at > 0 && word.test(text[at - 1] ?? '') ? null : matchAt(dollarQuote, text, at)
      if (quote === null) return at + 1
      return afterNext(text, at + quote[0].length, quote[0])
    }
    case '-': {
      if (text[at + 1] !== '-') return at + 1
      const end = text.indexOf('\n', at)
      return end < 0 ? text.length : end
    }
    case '/':
      return text[at + 1] === '*' ? afterBlockComment(text, at) : at + 1
    case '\n':
    case ';':
      return at + 1
    default:
      return at + (matchAt(plain, text, at)?.[0].length ?? 1)
  }
}

function afterNext(text: string, from: number, what: string): number {
  const end = text.indexOf(what, from)
  return end < 0 ? text.length : end + what.length
}

/** A doubled quote ends one piece and begins the next: to the lexer that is the same as a quote inside. */
function afterQuote(text: string, at: number, quote: string): number {
  return afterNext(text, at + 1, quote)
}

/** E'…' where the E is a word of its own, not the end of a name. */
function isEscapeString(text: string, at: number): boolean {
  const before = text[at - 1]
  return (before === 'E' || before === 'e') && !word.test(text[at - 2] ?? '')
}

function afterEscapeString(text: string, start: number): number {
  for (let at = start + 1; at < text.length; at += 1) {
    if (text[at] === '\\') at += 1
    else if (text[at] === "'") {
      if (text[at + 1] !== "'") return at + 1
      at += 1
    }
  }
  return text.length
}

function afterBlockComment(text: string, start: number): number {
  let depth = 0
  for (let at = start; at < text.length; at += 1) {
    if (text.startsWith('/*', at)) {
      depth += 1
      at += 1
    } else if (text.startsWith('*/', at)) {
      depth -= 1
      at += 1
      if (depth === 0) return at + 1
    }
  }
  return text.length
}

function matchAt(expression: RegExp, text: string, at: number): RegExpExecArray | null {
  expression.lastIndex = at
  return expression.exec(text)
}
