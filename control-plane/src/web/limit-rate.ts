import type { Queries } from '../store/open-database.ts'
import { ProblemError } from './problem.ts'

/*
 * How often somebody may call, counted in PostgreSQL, because functions share nothing else. One statement a call, or none
 * of its own where a call's statement can count as well (agents/poll.ts).
 *
 * The limits are for what runs wild, not for what works: a page that looks every second makes 60 calls a minute, a busy
 * agent with four jobs some 200.
 */

/** Calls in a minute. */
export interface RateLimits {
  /** Of one person, whatever they bring to prove it. */
  person: number
  agent: number
  /** From one address without a valid proof: what is refused with 401, and what anybody may call. */
  stranger: number
}

export const defaultRateLimits: RateLimits = { person: 1200, agent: 1200, stranger: 120 }

/** What counting answers. */
export interface Counted {
  /** Within this minute, with this one. */
  calls: number
  /** Until the minute is over. */
  wait_s: number
}

/** A minute that begins in the future was counted before the server's clock was set back. */
const IS_CURRENT = "known.window_start > now() - interval '1 minute' and known.window_start <= now()"

/**
 * A statement that counts one call of `key` (an SQL expression of type text) and returns a row of Counted. Now and then
 * it removes what has not called for an hour.
 */
export const countCall = (key: string): string => `
  insert into multiboard.rate_limits as known (key, window_start, calls) values (${key}, now(), 1)
  on conflict (key) do update set
    calls = case when ${IS_CURRENT} then known.calls + 1 else 1 end,
    window_start = case when ${IS_CURRENT} then known.window_start else now() end
  returning calls, ceil(extract(epoch from window_start + interval '1 minute' - now()))::integer as wait_s
`

const countAndTidy = `
  with old as (
    delete from multiboard.rate_limits where key in (
      select key from multiboard.rate_limits
      where (select random() < 0.002) and window_start < now() - interval '1 hour' and key <> $1
      limit 1000 for update skip locked
    )
  )
  ${countCall('$1')}
`

/** Counts a call. Throws `rate-limited` when there were more than `perMinute` within the minute. */
export async function limitRate(queries: Queries, key: string, perMinute: number): Promise<void> {
  const [counted] = await queries.query<Counted>(countAndTidy, [key])
  if (!counted) throw new Error('counting a call returned no row')
  refuseOver(counted, perMinute)
}

/** Throws `rate-limited` when that was too many. */
export function refuseOver({ calls, wait_s }: Counted, perMinute: number): void {
  if (calls <= perMinute) return
  const waitS = Math.max(1, wait_s)
  throw new ProblemError('rate-limited', `More than ${perMinute} calls within a minute.`, {
    hint: `Wait ${waitS} seconds, and call less often.`,
    retryAfterS: waitS,
  })
}
