import { describe, expect, test } from 'vitest'
import { isOpen, nextOpening, parseWindow, type TimeWindow } from './policy-window.ts'

const windowOf = (text: string): TimeWindow => {
  const window = parseWindow(text)
  if (!window) throw new Error(`not a window: ${text}`)
  return window
}
const isOpenAt = (text: string, at: string): boolean => isOpen(windowOf(text), new Date(at))
const nextOf = (text: string, from: string): string | undefined =>
  nextOpening([windowOf(text)], new Date(from))?.toISOString()

test.each([
  'Sat 02:00-05:00 Europe/Zurich',
  'sat,SUN 02:00-05:00 utc',
  'Fri-Mon 22:00-04:00 America/Argentina/Buenos_Aires',
  'daily 00:00-24:00 Etc/GMT+5',
])('%s is a window', (text) => {
  expect(parseWindow(text)).toBeDefined()
})

test.each([
  '',
  'any',
  '02:00-05:00 UTC',
  'Sat 02:00-05:00',
  'Sat 2:00-5:00 UTC',
  'Sat 02:00-02:00 UTC',
  'Sat 02:60-05:00 UTC',
  'Sat 02:00-24:01 UTC',
  'Sat 24:00-02:00 UTC',
  'Sat 25:00-26:00 UTC',
  'Sat- 02:00-05:00 UTC',
  'Sat,, 02:00-05:00 UTC',
  'Mon-Wed-Fri 02:00-05:00 UTC',
  'Sat 02:00-05:00 Europe/Nowhere',
  'Sat 02:00-05:00 +02:00',
  'Sat 02:00-05:00 ../../etc',
  ' Sat 02:00-05:00 UTC',
  'Sat 02:00-05:00 UTC\n',
])('%j is none', (text) => {
  expect(parseWindow(text)).toBeUndefined()
})

describe('a window', () => {
  test('is open from its first minute to its last, by the clock of its zone', () => {
    // A Saturday in winter: an hour ahead of UTC.
    const text = 'Sat 02:00-05:00 Europe/Zurich'
    expect(isOpenAt(text, '2026-11-28T00:59:59.999Z')).toBe(false)
    expect(isOpenAt(text, '2026-11-28T01:00:00Z')).toBe(true)
    expect(isOpenAt(text, '2026-11-28T03:59:59.999Z')).toBe(true)
    expect(isOpenAt(text, '2026-11-28T04:00:00Z')).toBe(false)
    expect(isOpenAt(text, '2026-11-29T01:00:00Z'), 'a Sunday').toBe(false)
    expect(isOpenAt(text, '2026-07-04T00:00:00Z'), 'in summer two hours ahead').toBe(true)
  })

  test('over midnight belongs to the day on which it begins', () => {
    const text = 'Sat 22:00-04:00 UTC'
    expect(isOpenAt(text, '2026-11-28T01:00:00Z'), 'Saturday morning').toBe(false)
    expect(isOpenAt(text, '2026-11-28T22:00:00Z')).toBe(true)
    expect(isOpenAt(text, '2026-11-29T03:59:59Z'), 'Sunday morning').toBe(true)
    expect(isOpenAt(text, '2026-11-29T04:00:00Z')).toBe(false)
    expect(isOpenAt(text, '2026-11-29T22:00:00Z'), 'Sunday evening').toBe(false)
    expect(isOpenAt('Sun 22:00-04:00 UTC', '2026-11-30T01:00:00Z'), 'over the end of a week').toBe(true)
  })

  test('may go over the end of a week, and up to midnight', () => {
    expect(isOpenAt('Fri-Mon 00:00-24:00 UTC', '2026-11-29T23:59:59Z')).toBe(true)
    expect(isOpenAt('Fri-Mon 00:00-24:00 UTC', '2026-12-01T00:00:00Z')).toBe(false)
    expect(isOpenAt('daily 12:00-24:00 UTC', '2026-12-01T00:00:00Z')).toBe(false)
  })

  test('loses the hour that a day skips, and does not open where it has no other', () => {
    // In Zurich the clocks went from 02:00 to 03:00 on 29 March 2026, at 01:00 UTC.
    expect(isOpenAt('Sun 02:00-05:00 Europe/Zurich', '2026-03-29T00:59:59Z')).toBe(false)
    expect(isOpenAt('Sun 02:00-05:00 Europe/Zurich', '2026-03-29T01:00:00Z')).toBe(true)
    expect(isOpenAt('Sun 02:00-05:00 Europe/Zurich', '2026-03-29T03:00:00Z')).toBe(false)
    expect(nextOf('Sun 02:00-05:00 Europe/Zurich', '2026-03-28T12:00:00Z')).toBe('2026-03-29T01:00:00.000Z')
    expect(nextOf('Sun 02:00-03:00 Europe/Zurich', '2026-03-28T12:00:00Z'), 'a week later').toBe(
      '2026-04-05T00:00:00.000Z',
    )
    expect(nextOf('daily 02:15-02:45 Europe/Zurich', '2026-03-28T12:00:00Z'), 'a day later').toBe(
      '2026-03-30T00:15:00.000Z',
    )
  })

  test('is open twice where a day has its time twice', () => {
    // The clocks went from 03:00 to 02:00 on 25 October 2026, at 01:00 UTC.
    const text = 'Sun 02:15-02:30 Europe/Zurich'
    const opened = ['00:15', '00:29', '00:30', '01:14', '01:15', '01:29', '01:30', '02:15'].filter((time) =>
      isOpenAt(text, `2026-10-25T${time}:00Z`),
    )
    expect(opened).toEqual(['00:15', '00:29', '01:15', '01:29'])
    expect(nextOf(text, '2026-10-25T00:30:00Z')).toBe('2026-10-25T01:15:00.000Z')
    expect(nextOf('Sun 02:00-02:30 Europe/Zurich', '2026-10-25T00:45:00Z'), 'at the change itself').toBe(
      '2026-10-25T01:00:00.000Z',
    )
  })

  test('over midnight lasts an hour longer or shorter in the night of a change', () => {
    const text = 'Sat 23:00-04:00 Europe/Zurich'
    expect(isOpenAt(text, '2026-10-25T02:59:59Z')).toBe(true)
    expect(isOpenAt(text, '2026-10-25T03:00:00Z')).toBe(false)
    expect(isOpenAt(text, '2026-03-29T01:59:59Z')).toBe(true)
    expect(isOpenAt(text, '2026-03-29T02:00:00Z')).toBe(false)
  })
})

describe('the next opening', () => {
  test('is now where a window is open, and the first of all where none is', () => {
    const windows = [windowOf('Sat 02:00-05:00 UTC'), windowOf('Wed 02:00-05:00 UTC')]
    const inside = new Date('2026-11-28T02:30:00.123Z')
    expect(nextOpening(windows, inside)).toEqual(inside)
    expect(nextOpening(windows, new Date('2026-11-28T05:00:00Z'))?.toISOString()).toBe('2026-12-02T02:00:00.000Z')
    expect(nextOpening([], inside)).toBeUndefined()
  })

  test('is a week later where a window has just closed, to the millisecond', () => {
    expect(nextOf('Sat 02:00-05:00 UTC', '2026-11-28T05:00:00.001Z')).toBe('2026-12-05T02:00:00.000Z')
  })

  test('follows clocks that are changed by half an hour', () => {
    // Lord Howe goes from 02:00 to 02:30 on 4 October 2026, at 15:30 UTC on the 3rd.
    expect(nextOf('Sun 02:10-02:20 Australia/Lord_Howe', '2026-10-03T12:00:00Z')).toBe('2026-10-10T15:10:00.000Z')
    expect(nextOf('Sun 02:10-02:40 Australia/Lord_Howe', '2026-10-03T12:00:00Z')).toBe('2026-10-03T15:30:00.000Z')
  })
})
