/*
 * When a route is open: `Sat 02:00-05:00 Europe/Zurich`. A window says what a clock on the wall of its zone shows, so it
 * follows the change to summer time and back by itself:
 *
 *   - times that a day skips are never shown: of 02:00-05:00 two hours are left on that day, and 02:00-03:00 does not open;
 *   - times that a day has twice are shown twice: 02:00-03:00 is open for two hours, 02:15-02:30 opens two times;
 *   - a window over midnight belongs to the day on which it begins: `Sat 22:00-04:00` ends on Sunday.
 *
 * The first minute is inside, the last is not. Zones are those of the runtime's own tables (Intl); pure.
 */

const DAYS = ['Sun', 'Mon', 'Tue', 'Wed', 'Thu', 'Fri', 'Sat']
const DAY_MIN = 24 * 60
const MINUTE_MS = 60_000
/** A week has at most one change of the clocks in any zone; the rest is for windows that a change swallows. */
const STEPS_MAX = 20

export interface TimeWindow {
  /** Of the days on which it begins; 0 is Sunday. */
  days: ReadonlySet<number>
  /** Minutes since midnight. */
  fromMin: number
  /** Up to 1440; not above `fromMin` where it ends on the day after. */
  toMin: number
  zone: string
}

const FORM = /^(?<days>[a-z,-]+) (?<from>\d\d:\d\d)-(?<to>\d\d:\d\d) (?<zone>[a-z][a-z0-9_+/-]*)$/i

/** The window that a text means; undefined where it means none. `Mon-Fri`, `Sat,Sun` and `daily` are days. */
export function parseWindow(text: string): TimeWindow | undefined {
  const parts = FORM.exec(text)?.groups
  const days = parseDays(parts?.['days'] ?? '')
  const fromMin = parseTime(parts?.['from'] ?? '')
  const toMin = parseTime(parts?.['to'] ?? '')
  const zone = parts?.['zone']
  // Equal times could mean all of the day or none of it; all of it is 00:00-24:00.
  if (!days || fromMin === undefined || toMin === undefined || fromMin === toMin || fromMin === DAY_MIN)
    return undefined
  return zone !== undefined && isZone(zone) ? { days, fromMin, toMin, zone } : undefined
}

function parseDays(text: string): Set<number> | undefined {
  if (/^daily$/i.test(text)) return new Set(DAYS.keys())
  const days = new Set<number>()
  for (const part of text.split(',')) {
    const [first = -1, last = first, ...more] = part.split('-').map(dayOf)
    if (first < 0 || last < 0 || more.length > 0) return undefined
    for (let day = first; ; day = (day + 1) % 7) {
      days.add(day)
      if (day === last) break
    }
  }
  return days
}

function dayOf(text: string): number {
  return DAYS.findIndex((day) => day.toLowerCase() === text.toLowerCase())
}

function parseTime(text: string): number | undefined {
  const [hours = Number.NaN, minutes = Number.NaN] = text.split(':').map(Number)
  const all = hours * 60 + minutes
  return minutes < 60 && all <= DAY_MIN ? all : undefined
}

function isZone(name: string): boolean {
  try {
    return clockOf(name) !== undefined
  } catch (error) {
    if (error instanceof RangeError) return false
    throw error
  }
}

/** True when the zone's clocks show a time of the window. */
export function isOpen(window: TimeWindow, at: Date): boolean {
  return isShown(window, readClock(clockOf(window.zone), at))
}

/** The first moment from `from` on at which one of the windows is open; undefined where none ever opens. */
export function nextOpening(windows: readonly TimeWindow[], from: Date): Date | undefined {
  const openings = windows.flatMap((window) => openingOf(window, from) ?? [])
  return openings.toSorted((a, b) => a.getTime() - b.getTime())[0]
}

function openingOf(window: TimeWindow, from: Date): Date | undefined {
  const clock = clockOf(window.zone)
  let at = from
  for (let step = 0; step < STEPS_MAX; step += 1) {
    const shown = readClock(clock, at)
    if (isShown(window, shown)) return at
    // By the clock as it goes now. Where it is changed before, the change is the next thing to look at.
    const begin = new Date(at.getTime() + untilBegin(window, shown))
    at = offsetMs(clock, begin) === offsetMs(clock, at) ? begin : changeBetween(clock, at, begin)
  }
  return undefined
}

interface Shown {
  day: number
  /** Since midnight. */
  ms: number
}

function isShown({ days, fromMin, toMin }: TimeWindow, { day, ms }: Shown): boolean {
  const minute = ms / MINUTE_MS
  if (fromMin < toMin) return days.has(day) && minute >= fromMin && minute < toMin
  return (days.has(day) && minute >= fromMin) || (days.has((day + 6) % 7) && minute < toMin)
}

/** Milliseconds until the clock shows the window's begin, if it is not changed meanwhile; of a week at most. */
function untilBegin({ days, fromMin }: TimeWindow, { day, ms }: Shown): number {
  const waits = [...days].map((begin) => {
    const wait = (((begin - day + 7) % 7) * DAY_MIN + fromMin) * MINUTE_MS - ms
    return wait > 0 ? wait : wait + 7 * DAY_MIN * MINUTE_MS
  })
  return Math.min(...waits)
}

/** The first moment at which the clock has been changed; it has been, by `to`. */
function changeBetween(clock: Intl.DateTimeFormat, from: Date, to: Date): Date {
  const before = offsetMs(clock, from)
  let [low, high] = [from.getTime(), to.getTime()]
  while (high - low > 1) {
    const middle = Math.floor((low + high) / 2)
    if (offsetMs(clock, new Date(middle)) === before) low = middle
    else high = middle
  }
  return new Date(high)
}

/** Making one takes a hundred times as long as asking it; there are some 600 zones. */
const clocks = new Map<string, Intl.DateTimeFormat>()

function clockOf(zone: string): Intl.DateTimeFormat {
  const key = zone.toLowerCase()
  const made = clocks.get(key) ?? makeClock(zone)
  clocks.set(key, made)
  return made
}

function makeClock(zone: string): Intl.DateTimeFormat {
  return new Intl.DateTimeFormat('en-US', {
    timeZone: zone,
    calendar: 'gregory',
    numberingSystem: 'latn',
    hourCycle: 'h23',
    year: 'numeric',
    month: 'numeric',
    day: 'numeric',
    hour: 'numeric',
    minute: 'numeric',
    second: 'numeric',
  })
}

function readClock(clock: Intl.DateTimeFormat, at: Date): Shown {
  const local = new Date(at.getTime() + offsetMs(clock, at))
  return {
    day: local.getUTCDay(),
    ms: local.getTime() - Date.UTC(local.getUTCFullYear(), local.getUTCMonth(), local.getUTCDate()),
  }
}

/** What the zone's clocks show, less what those of UTC show. */
function offsetMs(clock: Intl.DateTimeFormat, at: Date): number {
  const shown = new Map(clock.formatToParts(at).map(({ type, value }) => [type, Number(value)]))
  const of = (type: Intl.DateTimeFormatPartTypes): number => shown.get(type) ?? Number.NaN
  const local = Date.UTC(of('year'), of('month') - 1, of('day'), of('hour'), of('minute'), of('second'))
  return local - Math.floor(at.getTime() / 1000) * 1000
}
