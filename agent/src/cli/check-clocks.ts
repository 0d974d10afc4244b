import { SyncError } from '@multiboard-sync/shared/sync-error'
import type { Session } from '../postgres/session.ts'

/** How far other machines' clocks are ahead of ours, in milliseconds, by what they are to people. */
export type Clocks = Map<string, number>

/** As far as an order's times may be off. Windows, ages of archives and what is written into receipts go by these clocks. */
const SKEW_MAX_MS = 60_000

/** How far the server's clock is ahead of ours. The answer's way is counted half. */
export async function readServerSkew(session: Session): Promise<number> {
  const asked = Date.now()
  const [row] = await session.query<{ ms: number }>(
    `select (extract(epoch from clock_timestamp()) * 1000)::float8 as ms`,
  )
  return (row?.ms ?? Number.NaN) - (asked + Date.now()) / 2
}

/** Throws `clock-skew` with every clock that differs from ours. */
export function checkClocks(clocks: Clocks): string {
  const off = [...clocks].filter(([, skewMs]) => Math.abs(skewMs) > SKEW_MAX_MS)
  const names = [...clocks.keys()].join(', ')
  if (off.length === 0) return `this machine's clock agrees with ${names}, to a minute`
  const every = off.length > 1 && off.length === clocks.size
  throw new SyncError('clock-skew', "This machine's clock differs from others.", {
    hint: every
      ? "Set this machine's clock by NTP (timedatectl set-ntp true): it differs from all of them."
      : 'Set both clocks by NTP (timedatectl set-ntp true): windows, leases and ages of archives go by them.',
    details: off.map(([name, skewMs]) => {
      const seconds = Math.round(Math.abs(skewMs) / 1000)
      return `${name}: ${seconds} s ${skewMs > 0 ? 'ahead of' : 'behind'} this machine`
    }),
  })
}
