import { SyncError } from '@multiboard-sync/shared/sync-error'
import { topLevelMarks, type Mark } from './sql-lexer.ts'

/*
 * Cuts the text of pg_dump into its entries.
 *
 * Promises: cuts only at pg_dump's own headers, never inside a string, a quoted name, a function body or a comment;
 * preamble and the entries' `raw` joined are the input, byte for byte. Never: cuts at semicolons, changes a statement.
 */

export interface DumpEntry {
  /** `TABLE`, `FK CONSTRAINT`, `SEQUENCE SET`, `MATERIALIZED VIEW DATA`, … as pg_dump names them. */
  type: string
  /** '' where the object lies in no schema. */
  schema: string
  /** As the header has it: `f(integer)`, `table constraint`, `TABLE t` for its comment. Line ends are blanks there. */
  name: string
  /** '' with --no-owner. */
  owner: string
  /** The statements alone: without header, and without the SET lines that `settings` stands for. */
  sql: string
  /**
   * The `SET default_tablespace` and `SET default_table_access_method` lines in force for this entry; '' when none. In
   * the text they stand at the end of an earlier entry, so an entry that is run alone must be run after its settings.
   */
  settings: string
  /** The piece of the text, header included. */
  raw: string
}

/** Splits what pg_dump wrote. Throws SyncError `unsupported-object` for a header that can be read in two ways. */
export function splitEntries(text: string): { preamble: string; entries: DumpEntry[] } {
  const marks = topLevelMarks(text)
  const headers = marks.filter((mark) => mark.kind === 'header')
  const settings = marks.filter((mark) => mark.kind === 'setting')
  const state = new Map<string, string>()
  const end = headers[0]?.start ?? text.length
  let seen = 0
  const inForce = (before: number) => {
    for (let setting = settings[seen]; setting !== undefined && setting.start < before; setting = settings[seen]) {
      state.set(setting.name, text.slice(setting.start, setting.end))
      seen += 1
    }
    return [...state.values()].join('\n')
  }
  const entries = headers.map((header, index): DumpEntry => {
    const next = headers[index + 1]?.start ?? text.length
    const inside = settings.filter((mark) => mark.start >= header.end && mark.start < next)
    return {
      ...readHeader(header.name),
      sql: withoutMarks(text, header.end, next, inside),
      settings: inForce(header.start),
      raw: text.slice(header.start, next),
    }
  })
  return { preamble: text.slice(0, end), entries }
}

const dumpComplete = /\n--\n-- PostgreSQL database dump complete\n--\s*$/

function withoutMarks(text: string, start: number, end: number, marks: Mark[]): string {
  let sql = ''
  let from = start
  for (const mark of marks) {
    sql += text.slice(from, mark.start)
    from = mark.end
  }
  return (sql + text.slice(from, end)).replace(dumpComplete, '').trim()
}

/**
 * `Name: t; Type: TABLE; Schema: public; Owner: x; Tablespace: y`. pg_dump replaces line ends in names by blanks and
 * escapes nothing else. A name may hold semicolons; one that imitates the header's own words makes it ambiguous, and
 * what could be taken for another kind of object is refused rather than guessed.
 */
function readHeader(line: string): { name: string; type: string; schema: string; owner: string } {
  const match = /^Name: (.*); Type: ([A-Z][A-Z ]*); Schema: (.*); Owner: (.*?)(?:; Tablespace: .*)?$/s.exec(line)
  const [, name = '', type = '', schema = '', owner = ''] = match ?? []
  const once = (words: string, text: string) => text.split(words).length === 2
  if (match === null || !once('; Type: ', line) || !once('; Schema: ', line) || schema.includes('; Owner: ')) {
    throw new SyncError('unsupported-object', `The name of an object imitates the text of a dump: ${line}`, {
      hint: 'Rename the object or schema whose name holds "; Type: ", "; Schema: " or "; Owner: ".',
    })
  }
  return { name, type, schema: schema === '-' ? '' : schema, owner: owner === '-' ? '' : owner }
}
