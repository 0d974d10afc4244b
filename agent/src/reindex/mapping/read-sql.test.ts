import { expect, test } from 'vitest'
import { readSql } from './read-sql.ts'

const names = (sql: string) => readSql(sql).chains.map(({ words }) => words.map(({ name }) => name).join('.'))
const dotted = (sql: string) => names(sql).filter((name) => name.includes('.'))

test('names are read as PostgreSQL means them', () => {
  expect(dotted('select c.ID, "My.Schema"."a""b"."C" from Public . "Component" /* x.y */ as c')).toEqual([
    'c.id',
    'My.Schema.a"b.C',
    'public.Component',
  ])
})

test('strings, comments and bodies hold no names', () => {
  const sql = `select 'a.b', E'\\'c.d', $$e.f$$, $x$ g.h $$ $x$ -- i.j
    from k.l where x = 'it''s m.n' and /* /* o.p */ q.r */ s.t`
  expect(dotted(sql)).toEqual(['k.l', 's.t'])
  expect(readSql(sql).findings).toEqual([])
})

test('numbers, stars and casts join nothing', () => {
  expect(dotted('select t.*, 1.5, 2.e, .5, a::b.c from d.e')).toEqual(['b.c', 'd.e'])
})

test('a bracket behind a name makes it a call', () => {
  const calls = readSql('select a.f(x), a.g (y) from a.t as t (c)').chains.filter(({ isCall }) => isCall)
  expect(calls.map(({ words }) => words.map(({ name }) => name).join('.'))).toEqual(['a.f', 'a.g', 't'])
})

test.each([
  ['select 1; drop table x', 'line 1, column 9: one query without a semicolon, please.'],
  ['select 1) as r, (select 2', 'line 1, column 9: this bracket closes none.'],
  ['select (1', 'a bracket is not closed.'],
  ["select\n 'a", 'line 2, column 2: this string or comment has no end.'],
  ["select 'a''", 'line 1, column 11: this string or comment has no end.'],
  ['select 1 /* x', 'line 1, column 10: this string or comment has no end.'],
  ['select "a', 'line 1, column 8: this name has no end.'],
  ["select E'\\'", 'line 1, column 8: this string has no end.'],
  ['select $a$ x $b$', 'line 1, column 8: this string or comment has no end.'],
  ['select $1', 'line 1, column 8: a mapping has no parameters.'],
  ['select U&"d\\0061t" from x', 'line 1, column 8: write names and strings without U&.'],
  ['delete from a.b', 'it must be a select.'],
  ['select * from a.b for no key update', 'it must not lock rows (for update, for share): it is read only.'],
])('%s is refused', (sql, finding) => {
  expect(readSql(sql).findings).toContain(finding)
})

test.each([
  'select \';)\' as "for update" -- ; for update',
  'with a as (select 1) select substring(x for 3) from a',
  '(select 1) union (select 2)',
  "values (E'\\\\')",
  'select 1 -- ends in a comment',
])('%s is fine', (sql) => {
  expect(readSql(sql).findings).toEqual([])
})
