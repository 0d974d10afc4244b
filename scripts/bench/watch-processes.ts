import { readdirSync, readFileSync } from 'node:fs'

/*
 * Who used the processors: CPU time of processes with all their children, living and ended, from proc(5). Linux alone has
 * it; elsewhere everything is 0.
 */

/** sysconf(_SC_CLK_TCK): 100 on every Linux of the last twenty years. */
const TICKS_PER_SECOND = 100

interface Stat {
  parent: number
  /** Its own, and that of children it has waited for. */
  ticks: number
}

/** Seconds of CPU time that a process and its children have used. A postmaster has waited for all backends that ended. */
export function cpuSecondsOf(pids: number[]): number[] {
  const all = readAll()
  const children = Map.groupBy(all.keys(), (pid) => all.get(pid)?.parent ?? 0)
  const ticksOf = (pid: number): number =>
    (children.get(pid) ?? []).reduce((sum, child) => sum + ticksOf(child), all.get(pid)?.ticks ?? 0)
  return pids.map((pid) => ticksOf(pid) / TICKS_PER_SECOND)
}

function readAll(): Map<number, Stat> {
  const all = new Map<number, Stat>()
  for (const name of readdirProc()) {
    const pid = Number(name)
    const stat = Number.isInteger(pid) ? readStat(pid) : undefined
    if (stat) all.set(pid, stat)
  }
  return all
}

function readdirProc(): string[] {
  try {
    return readdirSync('/proc')
  } catch {
    return []
  }
}

function readStat(pid: number): Stat | undefined {
  try {
    const text = readFileSync(`/proc/${pid}/stat`, 'latin1')
    // The name in brackets may hold anything; the fields behind it begin with the third, the state.
    const fields = text.slice(text.lastIndexOf(')') + 2).split(' ')
    const ticks = [11, 12, 13, 14].reduce((sum, at) => sum + Number(fields[at]), 0)
    return { parent: Number(fields[1]), ticks }
  } catch {
    // Ended meanwhile.
    return undefined
  }
}

/** Seconds of CPU time of a living process by its threads' names: of Node its main thread, libuv's pool and V8's helpers. */
export function cpuSecondsByThread(pid: number): Record<string, number> {
  const seconds: Record<string, number> = {}
  try {
    for (const thread of readdirSync(`/proc/${pid}/task`)) {
      const text = readFileSync(`/proc/${pid}/task/${thread}/stat`, 'latin1')
      const isMain = Number(thread) === pid
      const name = isMain ? 'main' : text.slice(text.indexOf('(') + 1, text.lastIndexOf(')'))
      const fields = text.slice(text.lastIndexOf(')') + 2).split(' ')
      seconds[name] = (seconds[name] ?? 0) + (Number(fields[11]) + Number(fields[12])) / TICKS_PER_SECOND
    }
  } catch {
    // No Linux, or a thread that ended meanwhile: what is known is told.
  }
  return seconds
}

/** Of children of this process that have ended and were waited for, and theirs: pg_dump's workers are in it. */
export function endedChildrenSeconds(): number {
  try {
    const text = readFileSync('/proc/self/stat', 'latin1')
    const fields = text.slice(text.lastIndexOf(')') + 2).split(' ')
    return (Number(fields[13]) + Number(fields[14])) / TICKS_PER_SECOND
  } catch {
    return 0
  }
}

/** Seconds of all processors together since the machine began: at work for anybody, and in all. */
export function machineSeconds(): { busy: number; all: number } {
  try {
    const [, ...numbers] = (readFileSync('/proc/stat', 'latin1').split('\n', 1)[0] ?? '').split(/\s+/)
    const [user = 0, nice = 0, system = 0, idle = 0, iowait = 0, irq = 0, softirq = 0, steal = 0] = numbers.map(Number)
    const busy = user + nice + system + irq + softirq + steal
    return { busy: busy / TICKS_PER_SECOND, all: (busy + idle + iowait) / TICKS_PER_SECOND }
  } catch {
    return { busy: 0, all: 0 }
  }
}

/** The most memory a process has taken so far, in bytes (VmHWM). */
export function peakBytesOf(pid: number): number | undefined {
  try {
    const kib = /^VmHWM:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]
    return kib === undefined ? undefined : Number(kib) * 1024
  } catch {
    return undefined
  }
}
