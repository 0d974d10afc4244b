import fc from 'fast-check'
import { expect, test } from 'vitest'
import { splitEntries } from './dump-entries.ts'

const header = (name: string, type = 'TABLE', schema = 'public', owner = '-') =>
  `--\n-- Name: ${name}; Type: ${type}; Schema: ${schema}; Owner: ${owner}\n--\n\n`
const preamble = `--\n-- PostgreSQL database dump\n--\n\nSET standard_conforming_strings = on;\n\n`
const end = `--\n-- PostgreSQL database dump complete\n--\n\n`

function joined(text: string): string {
  const { preamble: head, entries } = splitEntries(text)
  return head + entries.map((entry) => entry.raw).join('')
}

test('Entries have type, schema, name and owner, and their statements alone', () => {
  const text = `${preamble}${header('t', 'TABLE', 'app', 'joe')}CREATE TABLE app.t ();\n\n\n${header('app', 'SCHEMA', '-')}CREATE SCHEMA app;\n\n\n${end}`
  const split = splitEntries(text)
  expect(split.preamble).toBe(preamble)
  expect(
    split.entries.map(({ type, schema, name, owner, sql, settings }) => ({ type, schema, name, owner, sql, settings })),
  ).toEqual([
    { type: 'TABLE', schema: 'app', name: 't', owner: 'joe', sql: 'CREATE TABLE app.t ();', settings: '' },
    { type: 'SCHEMA', schema: '', name: 'app', owner: '', sql: 'CREATE SCHEMA app;', settings: '' },
  ])
  expect(joined(text)).toBe(text)
})

test('A text without entries is all preamble', () => {
  expect(splitEntries(preamble + end)).toEqual({ preamble: preamble + end, entries: [] })
  expect(splitEntries('')).toEqual({ preamble: '', entries: [] })
})

const fake = `\n${header('fake', 'FUNCTION')}`

test.each([
  ['a string', `SELECT '${fake}''${fake}';`],
  ['a string with a backslash at its end', `SELECT 'a\\', '${fake}';`],
  ['an escape string', `SELECT E'\\'${fake}\\\\', E'''${fake}';`],
  ['a quoted name', `CREATE TABLE "a""${fake}" ();`],
  ['a dollar quote', `DO $$${fake}$ $a$${fake}$$;`],
  ['a tagged dollar quote', `DO $tag_1$ $$ ${fake} $tag$ $tag_1$;`],
  ['a dollar quote in a dollar quote', `DO $a$ $b$ ' $b$ ${fake}$a$;`],
  ['a comment', `/* ' /* $$ */ ${fake} */ SELECT 1;`],
  ['a name that ends with e', `SELECT table'a\\', '${fake}';`],
])('A header inside %s is none', (_, statement) => {
  const text = `${preamble}${header('one')}${statement}\n\n\n${header('two')}SELECT 2;\n`
  const { entries } = splitEntries(text)
  expect(entries.map((entry) => entry.name)).toEqual(['one', 'two'])
  expect(entries[0]?.sql).toBe(statement)
  expect(joined(text)).toBe(text)
})

test.each([
  ['a name with dollars', 'CREATE TABLE a$b$c ();'],
  ['a parameter', 'SELECT $1, $2;'],
  ['a comment with a quote', "-- it's\nSELECT 1;"],
  ['a division and a minus', 'SELECT 4 / 2 - 1 -2;'],
])('After %s the next header is seen', (_, statement) => {
  const text = `${header('one')}${statement}\n\n\n${header('two')}SELECT 2;\n`
  expect(splitEntries(text).entries.map((entry) => entry.name)).toEqual(['one', 'two'])
})

test('SET lines between entries are state: each entry has those in force, and none in its text', () => {
  const space = (name: string) => `SET default_tablespace = ${name};`
  const method = (name: string) => `SET default_table_access_method = ${name};`
  const text = [
    preamble,
    `${header('a')}A;\n\n\n${space("''")}\n\n${method('heap')}\n\n`,
    `${header('b')}B;\n\n\n${method('"odd;\nname"')}\n\n`,
    `${header('c')}C;\n\nC2 '\n${space('fake')}\n';\n\n`,
    `${header('d')}D;\n`,
  ].join('')
  const { entries } = splitEntries(text)
  expect(entries.map((entry) => entry.settings)).toEqual([
    '',
    `${space("''")}\n${method('heap')}`,
    `${space("''")}\n${method('"odd;\nname"')}`,
    `${space("''")}\n${method('"odd;\nname"')}`,
  ])
  expect(entries.map((entry) => entry.sql)).toEqual(['A;', 'B;', `C;\n\nC2 '\n${space('fake')}\n';`, 'D;'])
  expect(joined(text)).toBe(text)
})

test('Names may hold what headers hold, and statistics, data and tablespaces have headers too', () => {
  const text = [
    header('a; b; Owner: c'),
    header('odd "name" -- x', 'FK CONSTRAINT', 'my; schema'),
    `--\n-- Data for Name: v; Type: MATERIALIZED VIEW DATA; Schema: public; Owner: -\n--\n\nREFRESH;\n`,
    `--\n-- Name: i; Type: INDEX; Schema: public; Owner: joe; Tablespace: fast\n--\n\nINDEX;\n`,
  ].join('')
  expect(splitEntries(text).entries.map(({ type, schema, name, owner }) => [type, schema, name, owner])).toEqual([
    ['TABLE', 'public', 'a; b; Owner: c', ''],
    ['FK CONSTRAINT', 'my; schema', 'odd "name" -- x', ''],
    ['MATERIALIZED VIEW DATA', 'public', 'v', ''],
    ['INDEX', 'public', 'i', 'joe'],
  ])
})

test.each([
  header('f; Type: COMMENT; Schema: x', 'FUNCTION'),
  header('f', 'FUNCTION', 's; Type: TABLE; Schema: t'),
  header('f', 'FUNCTION', 's; Owner: t'),
])('A name that imitates a header is refused: %j', (text) => {
  expect(() => splitEntries(text)).toThrow(expect.objectContaining({ code: 'unsupported-object' }))
})

test('Whatever the pieces are, joining gives the text back', () => {
  const piece = fc.constantFrom(
    "'",
    '"',
    '$$',
    '$a$',
    '/*',
    '*/',
    '--',
    '\n',
    '\\',
    'E',
    ';',
    ' x ',
    '-',
    '/',
    fake,
    header('t'),
    'SET default_tablespace = a;\n',
  )
  fc.assert(
    fc.property(fc.array(piece, { maxLength: 40 }), (pieces) => {
      expect(joined(pieces.join(''))).toBe(pieces.join(''))
    }),
    { numRuns: 500 },
  )
})
