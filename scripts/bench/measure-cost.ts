import { cpus } from 'node:os'
import { nowMs } from './clock.ts'
import { cpuSecondsOf, endedChildrenSeconds, machineSeconds } from './watch-processes.ts'

/** Seconds of CPU time, by whose it was. `client` is the agent, or the tools that take its place. */
export interface CoreSeconds {
  source: number
  target: number
  client: number
  store: number
  /** Everybody else on the machine: a figure of more than some percent spoils the measurement. */
  others: number
}

/** How many processors each kept busy around one moment. */
interface BusySample extends CoreSeconds {
  atMs: number
}

export interface Cost {
  /** nowMs() */
  beganMs: number
  seconds: number
  cores: number
  core: CoreSeconds
  /** Share of the processors' time that source, target, client and store used. */
  busy: number
  samples: BusySample[]
}

export interface Watched {
  source: number
  target: number
  store: number | undefined
  /** The agent, while it lives. Undefined: the client is whatever children this process waits for. */
  client: (() => number | undefined) | undefined
}

/** Fine enough for a picture of half a minute, and half a percent of a processor. */
const SAMPLE_MS = 250
/** No process has this id. */
const NOBODY = -1

/** Runs some work and tells what it cost. The client, when it is a process, must still live when the work is done. */
export async function measureCost<T>(watched: Watched, work: () => Promise<T>): Promise<{ cost: Cost; done: T }> {
  const begin = look(watched)
  const samples: BusySample[] = []
  let last = begin
  const timer = setInterval(() => {
    const now = look(watched)
    samples.push({ ...perSecond(last, now), atMs: (last.atMs + now.atMs) / 2 })
    last = now
  }, SAMPLE_MS)
  try {
    const done = await work()
    const end = look(watched)
    const seconds = (end.atMs - begin.atMs) / 1000
    const core = between(begin, end)
    const cores = cpus().length
    const ours = core.source + core.target + core.client + core.store
    return { done, cost: { beganMs: begin.atMs, seconds, cores, core, busy: ours / (seconds * cores), samples } }
  } finally {
    clearInterval(timer)
  }
}

interface Look {
  atMs: number
  source: number
  target: number
  store: number
  client: number
  machine: number
}

function look({ source, target, store, client }: Watched): Look {
  const [ofSource = 0, ofTarget = 0, ofStore = 0, ofClient = 0] = cpuSecondsOf([
    source,
    target,
    store ?? NOBODY,
    client?.() ?? NOBODY,
  ])
  return {
    atMs: nowMs(),
    source: ofSource,
    target: ofTarget,
    store: store === undefined ? 0 : ofStore,
    client: client ? ofClient : endedChildrenSeconds(),
    machine: machineSeconds().busy,
  }
}

function between(begin: Look, end: Look): CoreSeconds {
  const [source, target] = [end.source - begin.source, end.target - begin.target]
  const [client, store] = [end.client - begin.client, end.store - begin.store]
  return {
    source,
    target,
    client,
    store,
    others: Math.max(0, end.machine - begin.machine - source - target - client - store),
  }
}

function perSecond(begin: Look, end: Look): CoreSeconds {
  const seconds = (end.atMs - begin.atMs) / 1000
  const { source, target, client, store, others } = between(begin, end)
  return {
    source: source / seconds,
    target: target / seconds,
    client: client / seconds,
    store: store / seconds,
    others: others / seconds,
  }
}
