import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { formatTableName, isTablePattern, parseTablePattern } from './table-pattern.ts'

const matches = (pattern: string, schema: string, name: string): boolean =>
  parseTablePattern(pattern).matches({ schema, name })

describe('a table pattern', () => {
  test('without a schema means public', () => {
    expect(matches('Component', 'public', 'Component')).toBe(true)
    expect(matches('Component', 'other', 'Component')).toBe(false)
  })

  test('never folds letters', () => expect(matches('component', 'public', 'Component')).toBe(false))

  test.each([
    ['public.*', 'public', 'anything.at all', true],
    ['*.*', 'a', 'b', true],
    ['pub?ic.C*t', 'public', 'Component', true],
    ['public.C?', 'public', 'C', false],
    ['public.a+b', 'public', 'aab', false],
    ['public.a+b', 'public', 'a+b', true],
    ['public.?', 'public', '🙂', true],
    ['public.*', 'public', 'two\nlines', true],
    ['"public"."*"', 'public', 'Component', false],
    ['"public"."*"', 'public', '*', true],
    ['"my.schema"."a""b"', 'my.schema', 'a"b', true],
    ['*."x.y"', 'any', 'x.y', true],
  ])('%s against "%s"."%s" is %s', (pattern, schema, name, expected) => {
    expect(matches(pattern, schema, name)).toBe(expected)
  })

  test.each(['', '.', 'a.', '.a', 'a.b.c', '"a', 'a"b', 'a"b"', '"a"b', '""', 'a..b', '"a".'])(
    '%s is none, and is refused by name',
    (text) => {
      expect(isTablePattern(text)).toBe(false)
      expect(() => parseTablePattern(text)).toThrow(expect.objectContaining({ code: 'invalid-request' }))
    },
  )

  test('is exact when nothing in it is a wildcard', () => {
    expect(parseTablePattern('"a*"."b?"').exact).toBe(true)
    expect(parseTablePattern('a.b*').exact).toBe(false)
  })

  test('T8: takes a moment, however many wildcards it has', () => {
    const begun = performance.now()
    expect(matches(`${'*a'.repeat(100)}b`, 'public', 'a'.repeat(63))).toBe(false)
    expect(matches(`${'*?'.repeat(31)}a*`, 'public', 'a'.repeat(63))).toBe(true)
    expect(performance.now() - begun).toBeLessThan(1000)
  })

  test('with wildcards means what the regular expression of it means', () => {
    const few = fc.string({ unit: fc.constantFrom('a', 'b', '🙂'), maxLength: 8 })
    const wild = fc.string({ unit: fc.constantFrom('a', 'b', '🙂', '*', '?'), minLength: 1, maxLength: 7 })
    fc.assert(
      fc.property(wild, few, (pattern, name) => {
        const expression = new RegExp(`^${pattern.replaceAll('*', '.*').replaceAll('?', '.')}$`, 'su')
        expect(matches(pattern, 'public', name)).toBe(expression.test(name))
      }),
      { numRuns: 3000 },
    )
  })

  test('made of any table name is read back as that name and no other', () => {
    const names = fc.string({ minLength: 1, maxLength: 20, unit: 'grapheme' })
    fc.assert(
      fc.property(names, names, names, (schema, name, other) => {
        const text = formatTableName({ schema, name })
        const pattern = parseTablePattern(text)
        expect(isTablePattern(text)).toBe(true)
        expect(pattern.exact).toBe(true)
        expect(pattern.matches({ schema, name })).toBe(true)
        expect(pattern.matches({ schema, name: other })).toBe(other === name)
      }),
      { numRuns: 1000 },
    )
  })
})
