import { describe, expect, test } from 'vitest'
import type { EngineChoice } from '@multiboard-sync/shared/job'
import type { DependencyFinding } from '../postgres/swap-set/swap-set.ts'
import { chooseCreate, chooseReplacement } from './choose-engine.ts'

const [a, b] = [
  { schema: 'public', name: 'a' },
  { schema: 'public', name: 'b' },
]
const presence = { wanted: [a, b], present: [], conflicts: [] }

describe('tables that are not there', () => {
  test.each(['auto', 'create'] as const)('are created when %s is asked', (asked) => {
    expect(chooseCreate({ ...presence, asked })).toMatchObject({ engine: 'create' })
  })

  test.each(['swap', 'merge', 'truncate'] as const)('cannot be replaced by %s', (asked) => {
    expect(() => chooseCreate({ ...presence, asked })).toThrow(
      expect.objectContaining({ code: 'target-empty', message: expect.stringContaining(`nothing to ${asked}`) }),
    )
  })

  test('are not created over other objects of their names', () => {
    const conflicts = ['view public.a']
    expect(() => chooseCreate({ ...presence, asked: 'auto', conflicts })).toThrow(
      expect.objectContaining({ code: 'target-not-empty', details: conflicts }),
    )
  })
})

test('tables of which one is there are replaced, and never created', () => {
  expect(chooseCreate({ ...presence, asked: 'auto', present: [b] })).toBeUndefined()
  expect(() => chooseCreate({ ...presence, asked: 'create', present: [b] })).toThrow(
    expect.objectContaining({ code: 'target-not-empty', details: ['public.b'] }),
  )
})

describe('tables that are there', () => {
  const inPlace = (text: string): DependencyFinding => ({ effect: 'in-place', text })
  const refused = (text: string): DependencyFinding => ({ effect: 'refused', text })
  const ROW_TYPE = 'function public.f() returns the row type of public."Component"'
  const NO_KEY = 'table public.log has no primary key'
  const choose = (
    asked: Exclude<EngineChoice, 'create'>,
    findings: DependencyFinding[],
    mergeBlockers: string[] = [],
  ) => chooseReplacement(asked, { findings, mergeBlockers })

  test.each(['auto', 'swap'] as const)('are swapped when nothing stands in the way of it (%s)', (asked) => {
    expect(choose(asked, [], [NO_KEY])).toEqual({ engine: 'swap', reason: expect.any(String), notices: [] })
  })

  test('are merged when something cannot be carried: the first is the reason, the others are told', () => {
    expect(choose('auto', [inPlace(ROW_TYPE), inPlace('publication p has table public.b')])).toEqual({
      engine: 'merge',
      reason: ROW_TYPE,
      notices: ['no swap: publication p has table public.b'],
    })
  })

  test('are truncated when one of them has no key either', () => {
    expect(choose('auto', [inPlace(ROW_TYPE)], [NO_KEY])).toEqual({
      engine: 'truncate',
      reason: ROW_TYPE,
      notices: [`no merge: ${NO_KEY}`],
    })
  })

  test.each([
    { blockers: [], other: 'merge' },
    { blockers: [NO_KEY], other: 'truncate' },
  ])('are not replaced otherwise when a swap was asked for; the hint names $other', ({ blockers, other }) => {
    expect(() => choose('swap', [inPlace(ROW_TYPE)], blockers)).toThrow(
      expect.objectContaining({
        code: 'unsupported-object',
        details: [ROW_TYPE],
        hint: expect.stringContaining(`engine ${other}`),
      }),
    )
  })

  test.each(['auto', 'swap'] as const)(
    'are refused with every finding when one of them is for people (%s)',
    (asked) => {
      const findings = [
        inPlace(ROW_TYPE),
        refused('index public.i is invalid'),
        refused('session 7 has a temporary view'),
      ]
      expect(() => choose(asked, findings)).toThrow(
        expect.objectContaining({
          code: 'unsupported-object',
          message: 'These tables cannot be swapped: 3 findings.',
          details: ['index public.i is invalid', 'session 7 has a temporary view', ROW_TYPE],
          hint: expect.stringContaining('engine merge'),
        }),
      )
    },
  )

  test.each(['merge', 'truncate'] as const)(
    'are replaced by %s when that is asked for, whatever a swap lacks',
    (asked) => {
      const findings = [inPlace(ROW_TYPE), refused('index public.i is invalid')]
      expect(choose(asked, findings)).toEqual({ engine: asked, reason: 'it was asked for', notices: [] })
    },
  )

  test('are not merged without a key, and truncated all the same', () => {
    expect(() => choose('merge', [], [NO_KEY])).toThrow(
      expect.objectContaining({
        code: 'unsupported-object',
        details: [NO_KEY],
        hint: expect.stringContaining('truncate'),
      }),
    )
    expect(choose('truncate', [], [NO_KEY])).toMatchObject({ engine: 'truncate' })
  })
})
