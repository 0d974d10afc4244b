import { isIPv6 } from 'node:net'
import type { Context } from 'hono'

// Who has one IPv6 address has 2^64 of them.
const IPV6_GROUPS = 4
const IPV6_GROUPS_OF_ALL = 8

/**
 * Where a request comes from, for counting strangers' calls. `header` is the one that a proxy of ours sets (of a list,
 * what it added last); without it the connection's own address counts. Nothing is decided by it but who shares a limit.
 */
export function clientAddress(c: Context, header: string | undefined): string {
  const told = header === undefined ? undefined : c.req.header(header)?.split(',').at(-1)?.trim()
  return networkOf((told ?? connectionAddress(c.env) ?? 'unknown').slice(0, 64))
}

function networkOf(address: string): string {
  if (!isIPv6(address) || /^::ffff:/i.test(address)) return address
  const [before = [], after = []] = address.split('::').map((part) => part.split(':').filter((group) => group !== ''))
  const zeros = Array.from({ length: Math.max(0, IPV6_GROUPS_OF_ALL - before.length - after.length) }, () => '0')
  const network = [...before, ...zeros, ...after].slice(0, IPV6_GROUPS)
  return `${network.map((group) => Number.parseInt(group, 16).toString(16)).join(':')}::/64`
}

/** Under Node; functions tell by a header. */
function connectionAddress(env: unknown): string | undefined {
  const { incoming } = (env ?? {}) as { incoming?: { socket?: { remoteAddress?: string } } }
  return incoming?.socket?.remoteAddress
}
