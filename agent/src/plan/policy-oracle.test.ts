import fc from 'fast-check'
import { calculateJwkThumbprint, exportJWK, generateKeyPair } from 'jose'
import { jobParamsSchema } from '@multiboard-sync/shared/job'
import { policySchema, policySha256 } from '@multiboard-sync/shared/policy'
import { evaluatePolicy, policyError, type ArchiveOrigin } from '@multiboard-sync/shared/policy-evaluate'
import { policyViewSchema, viewPolicy } from '@multiboard-sync/shared/policy-view'
import { signOrder } from '@multiboard-sync/shared/signed-order'
import { toSyncError } from '@multiboard-sync/shared/sync-error'
import { expect, test } from 'vitest'
import { verifyOrder } from '../verify/verify-order.ts'

/*
 * The policy against a second reading of what agent.example.yaml says of it. The oracle works on the file's own words and
 * takes nothing from what it is held against: other clocks, other arithmetic, one rule a line.
 */

interface RawRoute {
  from: string
  to: string
  kinds?: string[]
  window?: string | string[]
  max_jobs_per_day?: number
  min_interval?: string
  max_archive_age?: string
}
interface RawPolicy {
  databases: Record<string, { role: string; protected?: boolean }>
  routes: RawRoute[]
  collections?: Record<string, object>
}
type RawParams = {
  kind: string
  dry_run?: true
  source?: string
  target?: string
  collections?: string[]
  [more: string]: unknown
}
interface Asked {
  policy: RawPolicy
  params: RawParams
  archive: ArchiveOrigin
  now: Date
  begun: Date[]
}

const HOUR = 3_600_000
const WEEK = ['Sun', 'Mon', 'Tue', 'Wed', 'Thu', 'Fri', 'Sat']
const DAYS_OF: Record<string, string[]> = {
  daily: WEEK,
  Sat: ['Sat'],
  'Mon-Fri': ['Mon', 'Tue', 'Wed', 'Thu', 'Fri'],
  'Fri-Mon': ['Fri', 'Sat', 'Sun', 'Mon'],
  'Sun,Wed': ['Sun', 'Wed'],
}
const UNITS: Record<string, number> = { s: 1000, m: 60_000, h: HOUR, d: 24 * HOUR }
const msOf = (text: string): number => Number.parseInt(text, 10) * (UNITS[text.at(-1) ?? ''] ?? Number.NaN)

const walls = new Map<string, Intl.DateTimeFormat>()
function wallClock(zone: string, at: Date): { day: string; time: string } {
  const options = { timeZone: zone, weekday: 'short', hour: '2-digit', minute: '2-digit', hourCycle: 'h23' } as const
  const wall = walls.get(zone) ?? new Intl.DateTimeFormat('en-GB', options)
  walls.set(zone, wall)
  const [day = '', time = ''] = wall.format(at).split(/,? /)
  return { day, time }
}

function isInside(window: string, at: Date): boolean {
  const [days = '', times = '', zone = ''] = window.split(' ')
  const [begin = '', end = ''] = times.split('-')
  const { day, time } = wallClock(zone, at)
  const yesterday = WEEK[(WEEK.indexOf(day) + 6) % 7] ?? ''
  const isDay = (one: string): boolean => DAYS_OF[days]?.includes(one) ?? false
  if (begin < end) return isDay(day) && begin <= time && time < end
  return (isDay(day) && begin <= time) || (isDay(yesterday) && time < end)
}

/** The code of the refusal, or `allowed`. */
function oracle({ policy, params, archive, now, begun }: Asked): string {
  const { kind, source = '', target = '' } = params
  const names = kind === 'sync' ? [source, target] : kind === 'export' || kind === 'reindex' ? [source] : [target]
  if (names.some((name) => policy.databases[name] === undefined)) return 'database-unknown'
  const role = (name: string): string => policy.databases[name]?.role ?? 'none'
  const leadsTo = policy.routes.some(({ to }) => to === target) && role(target) !== 'source'
  if (kind === 'export') return role(source) === 'target' ? 'policy-denied' : 'allowed'
  if (kind === 'undo') return leadsTo ? 'allowed' : 'policy-denied'
  if (kind === 'reindex') {
    if (source === 'a') return params.collections?.some((alias) => alias !== 'parts') ? 'collection-unknown' : 'allowed'
    return policy.routes.some(({ from, to }) => from === source || to === source)
      ? 'collection-unknown'
      : 'policy-denied'
  }
  if (kind === 'sync' && source === target) return 'same-database'
  if (kind === 'restore' && archive.kind === 'safety-backup' && archive.source === target && leadsTo) return 'allowed'
  const from = kind === 'sync' ? source : archive.source
  const route = policy.routes.find((one) => one.from === from && one.to === target)
  const isAgainstRoles = role(target) === 'source' || role(from) === 'target'
  if (route === undefined || isAgainstRoles || (route.kinds !== undefined && !route.kinds.includes(kind))) {
    return policy.databases[target]?.protected === true ? 'target-protected' : 'policy-denied'
  }
  if (kind === 'restore' && route.max_archive_age !== undefined) {
    if (now.getTime() > Date.parse(archive.created_at) + msOf(route.max_archive_age)) return 'archive-too-old'
  }
  if (params.dry_run === true) return 'allowed'
  const windows = [route.window ?? []].flat()
  if (windows.length > 0 && !windows.some((window) => isInside(window, now))) return 'window-closed'
  const agesMs = begun.map((start) => now.getTime() - start.getTime())
  if (route.max_jobs_per_day !== undefined) {
    if (agesMs.filter((age) => age < 24 * HOUR).length >= route.max_jobs_per_day) return 'too-many-jobs'
  }
  const { min_interval } = route
  if (min_interval !== undefined && agesMs.some((age) => age < msOf(min_interval))) return 'too-many-jobs'
  return 'allowed'
}

const NAMES = ['a', 'b', 'c', 'd']
const oneOf = (...values: string[]): fc.Arbitrary<string> => fc.constantFrom(...values)
const optional = <T>(one: fc.Arbitrary<T>): fc.Arbitrary<T | undefined> => fc.option(one, { nil: undefined })
const time = fc
  .tuple(fc.nat(23), fc.constantFrom('00', '15', '30', '45'))
  .map(([hour, minute]) => `${String(hour).padStart(2, '0')}:${minute}`)
const window = fc
  .record({
    days: oneOf(...Object.keys(DAYS_OF)),
    begin: time,
    end: fc.oneof({ weight: 9, arbitrary: time }, { weight: 1, arbitrary: fc.constant('24:00') }),
    zone: oneOf(
      'UTC',
      'Europe/Zurich',
      'America/New_York',
      'Australia/Lord_Howe',
      'Asia/Kathmandu',
      'America/St_Johns',
    ),
  })
  .filter(({ begin, end }) => begin !== end)
  .map(({ days, begin, end, zone }) => `${days} ${begin}-${end} ${zone}`)
const route = fc.record(
  {
    from: oneOf(...NAMES),
    to: oneOf(...NAMES),
    kinds: fc.subarray(['sync', 'restore'], { minLength: 1 }),
    window: fc.oneof(window, fc.array(window, { minLength: 1, maxLength: 3 })),
    max_jobs_per_day: fc.integer({ min: 1, max: 4 }),
    min_interval: oneOf('90s', '10m', '60m', '7h', '1d'),
    max_archive_age: oneOf('12h', '3d', '30d'),
  },
  { requiredKeys: ['from', 'to'] },
)
const database = fc.record(
  { role: oneOf('source', 'target', 'both', 'both', 'both'), protected: fc.boolean() },
  { requiredKeys: ['role'] },
)
const policyMade: fc.Arbitrary<RawPolicy> = fc.record({
  // Of the four names one is sometimes missing: `a` never, because the collection is made of its rows.
  databases: fc.record({ a: database, b: database, c: database, d: database }, { requiredKeys: ['a', 'b'] }),
  routes: fc.uniqueArray(route, { minLength: 1, maxLength: 8, selector: ({ from, to }) => `${from} ${to}` }),
  collections: fc.constant({ parts: { database: 'a', from: 'part', fields: [{ name: 'title', type: 'string' }] } }),
}) as fc.Arbitrary<RawPolicy>

const ARCHIVE = '20261122T080312Z-a-k7f2'
const name = oneOf(...NAMES)
const dry = optional(fc.constant(true as const))
const paramsMade: fc.Arbitrary<RawParams> = fc.oneof(
  { weight: 5, arbitrary: fc.record({ kind: fc.constant('sync'), source: name, target: name, dry_run: dry }) },
  {
    weight: 4,
    arbitrary: fc.record({ kind: fc.constant('restore'), archive: fc.constant(ARCHIVE), target: name, dry_run: dry }),
  },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('export'), source: name, dry_run: dry }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('undo'), target: name, job: fc.constant('j4k7q2m9xw1ab') }) },
  {
    weight: 1,
    arbitrary: fc.record({
      kind: fc.constant('reindex'),
      source: name,
      collections: optional(fc.subarray(['parts', 'constructor'], { minLength: 1 })),
    }),
  },
) as fc.Arbitrary<RawParams>

/** Around the days on which clocks are changed, and any other day. */
const nowMade = fc
  .record({
    day: oneOf('2026-03-08', '2026-03-29', '2026-10-04', '2026-10-25', '2026-11-01', '2026-11-22', '2027-01-01'),
    minute: fc.integer({ min: -2 * 1440, max: 3 * 1440 }),
    ms: fc.constantFrom(0, 0, 1, 59_999),
  })
  .map(({ day, minute, ms }) => new Date(Date.parse(day) + minute * 60_000 + ms))

/** Twice as often between the two ends of a route of the policy as by chance. */
const asked: fc.Arbitrary<Asked> = fc
  .record({
    policy: policyMade,
    params: paramsMade,
    now: nowMade,
    aimed: fc.option(fc.nat(9), { freq: 6 }),
    archive: fc.record({
      source: oneOf(...NAMES, 'gone'),
      kind: fc.constantFrom('export' as const, 'export' as const, 'safety-backup' as const),
      ageMs: fc.oneof(
        fc.integer({ min: -HOUR, max: 40 * 24 * HOUR }),
        fc.constantFrom(12 * HOUR, 12 * HOUR + 1, 72 * HOUR),
      ),
    }),
    agesMs: fc.array(
      fc.oneof(fc.integer({ min: -HOUR, max: 24 * HOUR - 1 }), fc.constantFrom(90_000, 89_999, 600_000, 599_999)),
      { maxLength: 5 },
    ),
  })
  .map(({ policy, params, now, aimed, archive: { ageMs, source, kind }, agesMs }) => {
    const line = aimed === null ? undefined : policy.routes[aimed % Math.max(1, policy.routes.length)]
    const isFlow = params.kind === 'sync' || params.kind === 'restore'
    const aim =
      line && isFlow ? { ...params, target: line.to, ...(params.kind === 'sync' ? { source: line.from } : {}) } : params
    return {
      policy,
      params: aim,
      now,
      archive: { source: line ? line.from : source, kind, created_at: new Date(now.getTime() - ageMs).toISOString() },
      begun: agesMs.map((age) => new Date(now.getTime() - age)),
    }
  })

/** Jobs that only their route can hold back. */
const onRoute: fc.Arbitrary<Asked> = asked.map((one) => {
  const [line = { from: 'a', to: 'b' }] = one.policy.routes
  const { from, to } = line
  const databases = Object.fromEntries([...NAMES, from, to].map((name) => [name, { role: 'both' }]))
  const isRestore = one.params.kind === 'restore'
  const params = isRestore ? { ...one.params, target: to } : { kind: 'sync', source: from, target: to }
  return { ...one, policy: { ...one.policy, databases }, params, archive: { ...one.archive, source: from } }
})

/** Two seconds on a quiet machine. */
const ALLOWED = { timeout: 60_000 }

const ISSUER = 'https://sync.example.com'

test(
  'G10: whatever is signed, a job is done only where a second reading of the policy allows it',
  ALLOWED,
  async () => {
    const { privateKey, publicKey } = await generateKeyPair('EdDSA', { extractable: true })
    const kid = await calculateJwkThumbprint(await exportJWK(publicKey))
    const told = new Map<string, number>()
    let orders = 0

    /** The agent: the order's sixteen checks, and for a restore what its archive adds. */
    const decide = async ({ policy: raw, params, archive, now, begun }: Asked): Promise<string> => {
      const policy = policySchema.parse(raw)
      const nowS = Math.floor(now.getTime() / 1000)
      orders += 1
      const order = {
        iss: ISSUER,
        aud: 'agent:vps1' as const,
        iat: nowS,
        nbf: nowS,
        exp: nowS + 300,
        jti: `signed-order-${orders}`,
        job: { id: 'j4k7q2m9xw1ab', kind: params.kind, epoch: 1, fence: 7 },
        requester: 'stolen',
        params: jobParamsSchema.parse(params),
        policy_sha256: policySha256(policy),
      }
      try {
        const { params: verified } = await verifyOrder(await signOrder(order, privateKey, kid), {
          agent: 'vps1',
          issuer: ISSUER,
          policy,
          policySha256: policySha256(policy),
          findKey: async () => publicKey,
          serverDate: now,
          now: () => now,
          seen: nothingSeen,
          journaled: async () => undefined,
          begun: new Map([[params.target ?? '', begun]]),
        })
        if (verified.kind !== 'restore') return 'allowed'
        const verdict = evaluatePolicy(policy, verified, { now, archive, begun })
        if (!verdict.allowed) throw policyError(verdict)
        return 'allowed'
      } catch (thrown) {
        return toSyncError(thrown).code
      }
    }

    await fc.assert(
      fc.asyncProperty(asked, async (one) => {
        const expected = oracle(one)
        told.set(expected, (told.get(expected) ?? 0) + 1)
        expect(await decide(one)).toBe(expected)
      }),
      { numRuns: 2000, seed: 5 },
    )
    // Each answer was asked for often enough to mean something.
    const codes = ['allowed', 'policy-denied', 'target-protected', 'window-closed', 'too-many-jobs', 'archive-too-old']
    for (const code of codes) expect(told.get(code) ?? 0, code).toBeGreaterThan(20)
  },
)

test(
  'G10: the time at which a job is said to be allowed is the first at which it is, also by the view of the policy',
  ALLOWED,
  () => {
    let count = 0
    fc.assert(
      fc.property(onRoute, (one) => {
        const policy = policySchema.parse(one.policy)
        const params = jobParamsSchema.parse(one.params)
        const { now, archive, begun } = one
        const verdict = evaluatePolicy(policy, params, { now, archive, begun })
        const view = policyViewSchema.parse(JSON.parse(JSON.stringify(viewPolicy(policy))))
        expect({ ...evaluatePolicy(view, params, { now, archive, begun }), route: 0 }).toEqual({ ...verdict, route: 0 })
        const next = verdict.allowed ? undefined : verdict.next_allowed_at
        const isHeld = !verdict.allowed && (verdict.code === 'window-closed' || verdict.code === 'too-many-jobs')
        expect(next === undefined || isHeld, 'time alone changes nothing else').toBe(true)
        if (!isHeld) return
        const end = next?.getTime() ?? now.getTime() + 9 * 24 * HOUR
        expect(next === undefined || oracle({ ...one, now: next }) === 'allowed', 'allowed then').toBe(true)
        const isEarlier = (ms: number): boolean => oracle({ ...one, now: new Date(ms) }) === 'allowed'
        const step = Math.max(60_000, (end - now.getTime()) / 40)
        for (let ms = now.getTime(); ms < end; ms += step) expect(isEarlier(ms), new Date(ms).toISOString()).toBe(false)
        expect(isEarlier(end - 1), 'a millisecond earlier').toBe(false)
        count += 1
      }),
      { numRuns: 500, seed: 5 },
    )
    expect(count).toBeGreaterThan(100)
  },
)

const nothingSeen = {
  has: () => false,
  newestEpoch: () => 0,
  remember: async () => undefined,
  [Symbol.asyncDispose]: async () => undefined,
}
