/** Milliseconds since 1970 with fractions: the same for all processes of one machine, to some microseconds. */
export function nowMs(): number {
  return performance.timeOrigin + performance.now()
}
