/** Long enough to smooth single parts, short enough to show a stall soon. */
const WINDOW_MS = 5_000
/** Samples closer together than this say nothing more. */
const SAMPLE_EVERY_MS = 250

export interface TransferRate {
  /** `count` is the counter's absolute value at that time: bytes, or documents. */
  sample(atMs: number, count: number): void
  perSecond(nowMs: number): number
}

/** The rate of a growing counter over a sliding window. Times are of a monotonic clock. */
export function createRate(startMs: number): TransferRate {
  // The first sample is the last one outside the window, so that the window is full as soon as it can be.
  const samples = [{ atMs: startMs, count: 0 }]
  let latest = 0
  return {
    sample: (atMs, count) => {
      latest = count
      const last = samples.at(-1)
      if (!last || atMs - last.atMs >= SAMPLE_EVERY_MS) samples.push({ atMs, count })
      while (samples[1] && samples[1].atMs <= atMs - WINDOW_MS) samples.shift()
    },
    perSecond: (nowMs) => {
      const oldest = samples[0] ?? { atMs: startMs, count: 0 }
      const spanMs = nowMs - oldest.atMs
      return spanMs < SAMPLE_EVERY_MS ? 0 : Math.max(0, ((latest - oldest.count) / spanMs) * 1000)
    },
  }
}
