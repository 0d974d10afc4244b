/** Long enough to smooth single parts, short enough to show a stall soon. */
const WINDOW_MS = 5_000
/** Samples closer together than this say nothing more. */
const SAMPLE_EVERY_MS = 250

export interface TransferRate {
  /** `bytes` is the counter's absolute value at that time. */
  sample(atMs: number, bytes: number): void
  bytesPerSecond(nowMs: number): number
}

/** The rate of a growing counter over a sliding window. Times are of a monotonic clock. */
export function createRate(startMs: number): TransferRate {
  // The first sample is the last one outside the window, so that the window is full as soon as it can be.
  const samples = [{ atMs: startMs, bytes: 0 }]
  let latestBytes = 0
  return {
    sample: (atMs, bytes) => {
      latestBytes = bytes
      const last = samples.at(-1)
      if (!last || atMs - last.atMs >= SAMPLE_EVERY_MS) samples.push({ atMs, bytes })
      while (samples[1] && samples[1].atMs <= atMs - WINDOW_MS) samples.shift()
    },
    bytesPerSecond: (nowMs) => {
      const oldest = samples[0] ?? { atMs: startMs, bytes: 0 }
      const spanMs = nowMs - oldest.atMs
      return spanMs < SAMPLE_EVERY_MS ? 0 : Math.max(0, ((latestBytes - oldest.bytes) / spanMs) * 1000)
    },
  }
}
