import { formatBytes, formatCount } from '../../shared/src/sizes.ts'
import type { Comparison, Run } from './compare.ts'
import { formatTable, median } from './figures.ts'

/** What is promised of the medians: a name, what is divided by what, and the most it may be. docs/PERFORMANCE.md */
const GOALS: [name: string, of: string[], by: string[], most: number][] = [
  ['sync counts-gzip / dump + restore', ['sync counts-gzip'], ['pg_dump', 'pg_restore'], 0.78],
  ['sync counts-zstd / dump + restore', ['sync counts-zstd'], ['pg_dump', 'pg_restore'], 0.7],
  ['sync checksums-gzip / dump + restore', ['sync checksums-gzip'], ['pg_dump', 'pg_restore'], 0.85],
  ['sync checksums-zstd / dump + restore', ['sync checksums-zstd'], ['pg_dump', 'pg_restore'], 0.78],
  ['restore counts-gzip / pg_restore', ['restore counts-gzip'], ['pg_restore'], 0.8],
  ['restore checksums-gzip / pg_restore', ['restore checksums-gzip'], ['pg_restore'], 0.9],
  ['export counts-gzip / pg_dump', ['export counts-gzip'], ['pg_dump'], 1.15],
  ['export checksums-gzip / pg_dump', ['export checksums-gzip'], ['pg_dump'], 1.15],
  ['sync checksums-gzip / pgcopydb', ['sync checksums-gzip'], ['pgcopydb'], 1],
  ['sync counts-gzip / pgcopydb', ['sync counts-gzip'], ['pgcopydb'], 1],
  ['create checksums-gzip / dump + restore', ['create checksums-gzip'], ['pg_dump', 'pg_restore'], 1],
]
/** One big table has a stricter one for every sync. */
const ONE_TABLE_MOST = 0.7
const PHASE_MIN_SHARE = 0.005

export function printComparison(comparison: Comparison): string {
  const { runs, tables } = comparison
  return [
    printScene(comparison),
    printCosts(runs),
    printGoals(runs, tables === 1),
    printPhases(runs),
    printThreads(runs),
    printReaders(comparison),
    ...comparison.failures.map((failure) => `FAILED ${failure}`),
  ]
    .filter((part) => part !== '')
    .join('\n\n')
}

function printScene({ machine, settings, tools, scale, rows, options }: Comparison): string {
  const set = Object.entries(settings).map(([name, value]) => `${name} ${value}`)
  return `${scale}, ${formatCount(rows)} rows; ${options.rounds} rounds; PostgreSQL ${options.major}, source and target each a server
${machine.cpus} x ${machine.model}, ${formatBytes(machine.memory)} of memory, Node ${machine.node}
${set.join(', ')}
${tools.join('; ')}`
}

function printCosts(runs: Run[]): string {
  const figures: [string, (run: Run) => number | undefined, (value: number) => string][] = [
    ['s', ({ cost }) => cost.seconds, fixed],
    ['busy', ({ cost }) => cost.busy, percent],
    ['core-s', coreSeconds, fixed],
    ['source', ({ cost }) => cost.core.source, fixed],
    ['target', ({ cost }) => cost.core.target, fixed],
    ['client', ({ cost }) => cost.core.client, fixed],
    ['store', ({ cost }) => cost.core.store, fixed],
    ['others', ({ cost }) => cost.core.others, fixed],
    ['peak RSS', ({ peakBytes }) => peakBytes, (value) => formatBytes(value)],
    ['COPY text', ({ bytes }) => bytes || undefined, (value) => formatBytes(value)],
    ['archive', ({ archiveBytes }) => archiveBytes, (value) => formatBytes(value)],
  ]
  const whats = [...new Set(runs.map(({ what }) => what))].toSorted()
  const cell = (what: string, figure: (run: Run) => number | undefined, format: (value: number) => string): string => {
    const value = middle(runs, what, figure)
    return value === undefined ? '' : format(value)
  }
  return `Medians; core-seconds by process, the client is the agent or the tools; "others" is the rest of the machine.
${formatTable([
  ['', ...figures.map(([name]) => name), 'fastest-slowest'],
  ...whats.map((what) => [
    what,
    ...figures.map(([, figure, format]) => cell(what, figure, format)),
    range(runs.filter((run) => run.what === what)),
  ]),
])}`
}

function coreSeconds({ cost: { core } }: Run): number {
  return core.source + core.target + core.client + core.store
}

function range(runs: Run[]): string {
  const seconds = runs.map(({ cost }) => cost.seconds)
  return `${fixed(Math.min(...seconds))}-${fixed(Math.max(...seconds))} s`
}

function printGoals(runs: Run[], isOneTable: boolean): string {
  const sum = (whats: string[], figure: (run: Run) => number): number | undefined => {
    const each = whats.map((what) => middle(runs, what, figure))
    return each.reduce((all, one) => (all === undefined || one === undefined ? undefined : all + one), 0)
  }
  const secondsOf = ({ cost }: Run): number => cost.seconds
  const rows = GOALS.flatMap(([name, of, by, most]) => {
    const [ours, theirs] = [sum(of, secondsOf), sum(by, secondsOf)]
    const [ourCores, theirCores] = [sum(of, coreSeconds), sum(by, coreSeconds)]
    if (ours === undefined || theirs === undefined || ourCores === undefined || theirCores === undefined) return []
    const goal = isOneTable && name.startsWith('sync') && name.endsWith('restore') ? ONE_TABLE_MOST : most
    const ratio = ours / theirs
    const cores = (ourCores / theirCores).toFixed(3)
    return [[name, ratio.toFixed(3), goal.toFixed(2), ratio <= goal ? 'met' : 'MISSED', cores]]
  })
  return rows.length === 0
    ? ''
    : `Ratios of the medians; that of core-seconds is less sensitive to others' work.\n${formatTable([['', 'seconds', 'goal', '', 'core-seconds'], ...rows])}`
}

function printPhases(runs: Run[]): string {
  const whats = [...new Set(runs.filter(({ phases }) => phases).map(({ what }) => what))].toSorted()
  const lines = whats.map((what) => {
    const of = runs.filter((run) => run.what === what)
    const names = [...new Set(of.flatMap(({ phases = [] }) => phases.map(([name]) => name)))]
    const all = middle(of, what, ({ cost }) => cost.seconds) ?? 1
    const shares = names.flatMap((name) => {
      const seconds = median(of.map(({ phases = [] }) => phases.find(([one]) => one === name)?.[1] ?? 0)) ?? 0
      return seconds / all < PHASE_MIN_SHARE ? [] : [`${name} ${percent(seconds / all)}`]
    })
    return `${what}: ${shares.join(', ')}`
  })
  return lines.length === 0
    ? ''
    : `Part of the time in each phase; what is missing is the start of the process.\n${lines.join('\n')}`
}

function printThreads(runs: Run[]): string {
  const of = runs.filter((run) => run.threads !== undefined)
  const names = [...new Set(of.flatMap(({ threads = {} }) => Object.keys(threads)))].toSorted()
  const lines = [...new Set(of.map(({ what }) => what))].toSorted().map((what) => {
    const seconds = names.map((name) => middle(of, what, ({ threads }) => threads?.[name] ?? 0) ?? 0)
    return [what, ...seconds.map(fixed)]
  })
  if (lines.length === 0) return ''
  return `Core-seconds of the agent by thread; those of threads that ended are missing.\n${formatTable([['', ...names], ...lines])}`
}

function printReaders({ readers, runs }: Comparison): string {
  const undo = middle(runs, 'undo', ({ phases = [] }) => phases.reduce((sum, [, seconds]) => sum + seconds, 0))
  const undone = undo === undefined ? '' : `Undo, from preflight to its end: ${fixed(undo)} s.`
  if (!readers) return undone
  const { sync } = readers
  const ms = (value: number | undefined): string => (value === undefined ? '-' : `${value.toFixed(0)} ms`)
  return `${undone}
Four readers, resting 5 ms between reads, while full tables are replaced (${fixed(sync.seconds)} s) and put back (${fixed(readers.undo.seconds)} s).
Longest wait: before ${ms(sync.waitBefore)}, while the stage is made ${ms(sync.waitAtStage)}, at the swap ${ms(sync.waitAtSwap)}, at the undo ${ms(readers.undo.waitAtSwap)}, whole job ${ms(sync.wait)}.
Locks held: stage ${ms(sync.lockedAtStage)}, swap ${ms(sync.locked)}, undo ${ms(readers.undo.locked)}.`
}

function middle(runs: Run[], what: string, figure: (run: Run) => number | undefined): number | undefined {
  return median(runs.filter((run) => run.what === what).flatMap((run) => figure(run) ?? []))
}

function fixed(value: number): string {
  return value.toFixed(1)
}

function percent(share: number): string {
  return `${Math.round(share * 100)} %`
}
