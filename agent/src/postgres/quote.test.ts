import { expect, test } from 'vitest'
import { quoteIdent, quoteLiteral, quoteTable } from './quote.ts'

test('Names are always quoted, and quotes in them doubled', () => {
  expect(quoteIdent('select')).toBe('"select"')
  expect(quoteIdent('a"b')).toBe('"a""b"')
  expect(quoteTable({ schema: 'my.schema', name: 'x"; drop table y; --' })).toBe('"my.schema"."x""; drop table y; --"')
})

test('Literals double quotes, and backslashes only in the form that gives them a meaning', () => {
  expect(quoteLiteral("it's")).toBe("'it''s'")
  expect(quoteLiteral("\\'")).toBe(" E'\\\\'''")
})

test('What PostgreSQL cannot hold is refused', () => {
  expect(() => quoteIdent('')).toThrow('empty or holds a NUL')
  expect(() => quoteIdent('a\0b')).toThrow('empty or holds a NUL')
  expect(() => quoteLiteral('\0')).toThrow('NUL')
})
