import type { Run } from './compare.ts'
import type { CoreSeconds } from './measure-cost.ts'
import type { Trace } from './ours.ts'

/*
 * Draws what ran when, on which lane, above what kept the processors busy: an SVG that stands alone and follows the
 * reader's light or dark theme. Every bar tells its name and times when pointed at.
 */

export interface Picture extends Pick<Run, 'what' | 'cost' | 'tracedMs'> {
  trace: Trace
  scale: string
}

type Span = Trace['spans'][number]

const WIDTH = 1200
const [LEFT, RIGHT, TOP] = [84, 24, 76]
const [PHASE_HEIGHT, LANE_HEIGHT, LANE_GAP, BUSY_HEIGHT] = [24, 30, 6, 120]
const PLOT = WIDTH - LEFT - RIGHT
/** Of the fonts that browsers take for these sizes; labels that do not fit are cut. */
const [LABEL_WIDTH, SMALL_WIDTH] = [6.1, 5.8]
const MIN_LABEL = 4
const RUN_GAP_SECONDS = 0.1
/** Some ten ticks, at round numbers. */
const STEPS = [0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 30, 60, 120, 300, 600]
const TICKS = 14

const KINDS: Record<string, [colour: string, means: string]> = {
  copy: ['#3f83c6', 'rows: source to archive and stage'],
  backup: ['#8b6fc4', 'safety backup'],
  checksum: ['#2e9a8a', 'checksum or count'],
  index: ['#d6812c', 'index'],
  key: ['#c4527f', 'foreign key'],
  analyze: ['#7c8b9e', 'analyze'],
}
const OTHER_KIND: [string, string] = ['#7c8b9e', 'other work']
const PROCESSES: [who: keyof CoreSeconds, colour: string, name: string][] = [
  ['source', '#5b9bd5', 'source server'],
  ['target', '#e39a4f', 'target server'],
  ['client', '#6fb07f', 'agent'],
  ['store', '#b08fd8', 'object store'],
  ['others', '#a3a9b3', 'the rest of the machine'],
]

const STYLE = `
  .back { fill: #fff } .text { fill: #1f2733 } .faint { fill: #66707f } .line { stroke: #1f2733; stroke-opacity: .12 }
  .row { fill: #1f2733; fill-opacity: .045 } .phase { fill: #1f2733; fill-opacity: .1 } .phase.odd { fill-opacity: .055 }
  @media (prefers-color-scheme: dark) {
    .back { fill: #161b22 } .text { fill: #e4e9f0 } .faint { fill: #9aa5b4 } .line { stroke: #e4e9f0; stroke-opacity: .14 }
    .row { fill: #e4e9f0; fill-opacity: .06 } .phase { fill: #e4e9f0; fill-opacity: .15 } .phase.odd { fill-opacity: .08 }
  }
  text { font: 12px system-ui, -apple-system, 'Segoe UI', Roboto, 'Liberation Sans', sans-serif }
  .title { font-size: 17px; font-weight: 600 } .small { font-size: 11px } .in { fill: #fff; font-size: 11px; pointer-events: none }`

export function ganttSvg({ what, scale, cost, trace, tracedMs }: Picture): string {
  const phases = trace.spans.filter(({ lane }) => lane === 0)
  // The trace begins within the process: its first phase is what both clocks know.
  const offsetMs = (tracedMs ?? cost.beganMs) - cost.beganMs - (phases[0]?.begin_ms ?? 0)
  const spans = trace.spans.map((span) => ({
    ...span,
    begin: (span.begin_ms + offsetMs) / 1000,
    end: (span.end_ms + offsetMs) / 1000,
  }))
  const seconds = Math.max(cost.seconds, ...spans.map(({ end }) => end))
  const x = (at: number): number => LEFT + (Math.max(0, at) / seconds) * PLOT
  const laneNumbers = Array.from({ length: trace.lanes }, (_, n) => n + 1)
  const lanesTop = TOP + PHASE_HEIGHT + 12
  const laneY = (lane: number): number => lanesTop + (lane - 1) * (LANE_HEIGHT + LANE_GAP)
  const busyTop = laneY(trace.lanes + 1) + 34
  const axisY = busyTop + BUSY_HEIGHT
  const height = axisY + 92

  const lanes = laneNumbers.map((lane) => {
    const y = laneY(lane)
    const own = spans.filter((span) => span.lane === lane)
    const busy = own.reduce((sum, { begin, end }) => sum + end - begin, 0)
    return `<rect class="row" x="${LEFT}" y="${y}" width="${PLOT}" height="${LANE_HEIGHT}" rx="4"/>
<text class="text" x="${LEFT - 12}" y="${y + 14}" text-anchor="end">lane ${lane}</text>
<text class="faint small" x="${LEFT - 12}" y="${y + 27}" text-anchor="end">${percent(busy / seconds)}</text>
${own.map((span) => bar(span, x, y)).join('\n')}
${runsOf(own)
  .map((span) => barLabel(span, x, y))
  .join('\n')}`
  })

  return `<svg xmlns="http://www.w3.org/2000/svg" width="${WIDTH}" height="${height}" viewBox="0 0 ${WIDTH} ${height}" role="img">
<title>${escape(`${what}: what ran when`)}</title>
<style>${STYLE}
</style>
<rect class="back" width="${WIDTH}" height="${height}" rx="10"/>
<text class="text title" x="24" y="34">${escape(what)}, ${round(cost.seconds)} s</text>
<text class="faint" x="24" y="55">${escape(scale)}. ${cost.cores} processors, ${percent(cost.busy)} busy with this job. Lanes are the job's connections; time is from the start of the process.</text>
${ticks(seconds)
  .map((at) => tick(at, x(at), TOP, axisY))
  .join('\n')}
<text class="text" x="${LEFT - 12}" y="${TOP + 16}" text-anchor="end">phase</text>
${spans
  .filter(({ lane }) => lane === 0)
  .map((span, n) => phase(span, n, x))
  .join('\n')}
${lanes.join('\n')}
<text class="text" x="${LEFT - 12}" y="${busyTop + 12}" text-anchor="end">cores</text>
${busyAreas({ cost, x, top: busyTop })}
${legend(spans, cost.core, axisY + 46)}
</svg>
`
}

type Placed = Span & { begin: number; end: number }

function bar({ kind, name, begin, end, failed }: Placed, x: (at: number) => number, y: number): string {
  const [colour] = KINDS[kind] ?? OTHER_KIND
  const [left, right] = [x(begin), x(end)]
  // A gap of half a pixel tells neighbours apart; what is shorter is still seen.
  const width = Math.max(1, right - left - 0.5)
  const what = `${kind} ${name}: ${round(end - begin)} s, from ${round(begin)} to ${round(end)}${failed ? ', failed' : ''}`
  const mark = failed ? ' stroke="#d33" stroke-width="2"' : ''
  return `<rect x="${round(left)}" y="${y}" width="${round(width)}" height="${LANE_HEIGHT}" rx="${width > 6 ? 3 : 0}" fill="${colour}"${mark}><title>${escape(what)}</title></rect>`
}

/** A table's slices, one after the other, have one label. */
function runsOf(spans: Placed[]): Placed[] {
  const runs: Placed[] = []
  for (const span of spans) {
    const last = runs.at(-1)
    const goesOn = last && last.kind === span.kind && last.name === span.name && span.begin - last.end < RUN_GAP_SECONDS
    if (goesOn) last.end = span.end
    else runs.push({ ...span })
  }
  return runs
}

function barLabel({ kind, name, begin, end }: Placed, x: (at: number) => number, y: number): string {
  const short = name.replace(/^public\./, '').replaceAll('"', '')
  const label = fit(
    kind === 'copy' || kind === 'index' ? short : `${kind} ${short}`,
    x(end) - x(begin) - 9,
    SMALL_WIDTH,
  )
  return label === '' ? '' : `<text class="in" x="${round(x(begin) + 5)}" y="${y + 19}">${escape(label)}</text>`
}

function phase({ name, begin, end }: Placed, n: number, x: (at: number) => number): string {
  const [left, width] = [x(begin), Math.max(1, x(end) - x(begin) - 1)]
  const label = fit(name, width - 10, LABEL_WIDTH)
  const text = label === '' ? '' : `<text class="text" x="${round(left + 5)}" y="${TOP + 16}">${escape(label)}</text>`
  return `<g><title>${escape(`${name}: ${round(end - begin)} s`)}</title><rect class="phase${n % 2 ? ' odd' : ''}" x="${round(left)}" y="${TOP}" width="${round(width)}" height="${PHASE_HEIGHT}" rx="3"/>${text}</g>`
}

/** Stacked from the source upwards; what is white above is idle. */
function busyAreas({ cost, x, top }: { cost: Picture['cost']; x: (at: number) => number; top: number }): string {
  const { samples, cores, beganMs } = cost
  const y = (busy: number): string => round(top + BUSY_HEIGHT * (1 - Math.min(busy, cores) / cores))
  const areas = PROCESSES.map(([who, colour, name], n) => {
    const below = PROCESSES.slice(0, n).map(([one]) => one)
    const points = samples.map((sample) => {
      const from = below.reduce((sum, one) => sum + sample[one], 0)
      return { at: round(x((sample.atMs - beganMs) / 1000)), from: y(from), to: y(from + sample[who]) }
    })
    const upper = points.map(({ at, to }) => `${at} ${to}`)
    const lower = points.toReversed().map(({ at, from }) => `${at} ${from}`)
    if (points.length === 0) return ''
    return `<path d="M${upper.join('L')}L${lower.join('L')}Z" fill="${colour}" fill-opacity="${who === 'others' ? 0.35 : 0.9}"><title>${escape(name)}</title></path>`
  })
  const marks = Array.from({ length: cores + 1 }, (_, n) => {
    const at = y(n)
    return `<line class="line" x1="${LEFT}" x2="${LEFT + PLOT}" y1="${at}" y2="${at}"/>
<text class="faint small" x="${LEFT - 12}" y="${Number(at) + (n === cores ? 24 : 0)}" text-anchor="end">${n === cores ? '' : n}</text>`
  })
  return `<rect class="row" x="${LEFT}" y="${top}" width="${PLOT}" height="${BUSY_HEIGHT}"/>
${areas.join('\n')}
${marks.join('\n')}`
}

function legend(spans: Placed[], core: CoreSeconds, y: number): string {
  const kinds = Object.entries(KINDS).flatMap(([kind, [colour, means]]) => {
    const own = spans.filter((span) => span.lane > 0 && span.kind === kind)
    const sum = own.reduce((all, { begin, end }) => all + end - begin, 0)
    return own.length === 0 ? [] : [{ colour, text: `${means} ${round(sum)} s` }]
  })
  const processes = PROCESSES.map(([who, colour, name]) => ({ colour, text: `${name} ${round(core[who])}` }))
  return `${legendRow('On lanes', kinds, y)}
${legendRow('Core-seconds', processes, y + 26)}`
}

function legendRow(title: string, entries: { colour: string; text: string }[], y: number): string {
  let at = LEFT + 36
  const items = entries.map(({ colour, text }) => {
    const item = `<rect x="${round(at)}" y="${y - 10}" width="12" height="12" rx="3" fill="${colour}"/>
<text class="text" x="${round(at + 18)}" y="${y}">${escape(text)}</text>`
    at += 18 + text.length * LABEL_WIDTH + 22
    return item
  })
  return `<text class="faint" x="24" y="${y}">${title}</text>
${items.join('\n')}`
}

function ticks(seconds: number): number[] {
  const step = STEPS.find((one) => seconds / one <= TICKS) ?? 1200
  return Array.from({ length: Math.floor(seconds / step) + 1 }, (_, n) => n * step)
}

function tick(at: number, x: number, top: number, bottom: number): string {
  return `<line class="line" x1="${round(x)}" x2="${round(x)}" y1="${top}" y2="${bottom + 5}"/>
<text class="faint small" x="${round(x)}" y="${bottom + 17}" text-anchor="middle">${Number(at.toFixed(1))} s</text>`
}

function fit(text: string, width: number, letterWidth: number): string {
  const room = Math.floor(width / letterWidth)
  if (text.length <= room) return text
  return room < MIN_LABEL ? '' : `${text.slice(0, room - 1)}…`
}

function round(value: number): string {
  return value.toFixed(1)
}

function percent(share: number): string {
  return `${Math.round(share * 100)} %`
}

function escape(value: string): string {
  return value.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;').replaceAll('"', '&quot;')
}
