import { readFileSync } from 'node:fs'

/**
 * The most memory that this process has taken, in bytes. Where Linux says it itself: what getrusage(2) tells begins with
 * what the process that started this one had taken, because exec(2) does not reset it.
 */
export function peakMemoryBytes(): number {
  try {
    const kib = /^VmHWM:\s+(\d+) kB$/m.exec(readFileSync('/proc/self/status', 'utf8'))?.[1]
    if (kib !== undefined) return Number(kib) * 1024
  } catch {
    // No Linux.
  }
  // In KiB (Node.js docs, process.resourceUsage).
  return process.resourceUsage().maxRSS * 1024
}
