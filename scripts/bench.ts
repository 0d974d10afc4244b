import { writeFile } from 'node:fs/promises'
import { measureSwapCosts, printSwapCosts } from './bench/swap-costs.ts'
import { compare } from './bench/compare.ts'
import { ganttSvg } from './bench/gantt.ts'
import { parseOptions, USAGE } from './bench/options.ts'
import { printComparison } from './bench/print-comparison.ts'

/*
 * Measures the agent beside what one would run instead: pg_dump and pg_restore, and pgcopydb, on the same two servers, by
 * turns. `--readers` measures what a swap costs others instead. Figures of ours: docs/PERFORMANCE.md.
 */

const options = parseOptions(process.argv.slice(2))
const say = (text: string): void => console.error(text)
if (options === undefined) {
  console.error(USAGE)
  process.exitCode = 2
} else if (options.readers) {
  const figures = await measureSwapCosts({ ...options.readers, rounds: options.rounds, say })
  if (options.json) console.log(JSON.stringify({ ...options.readers, ...figures }))
  else console.log(printSwapCosts(figures, options.readers.components))
} else {
  const comparison = await compare(options, say)
  const drawn = comparison.runs.findLast(({ what, trace }) => trace && (options.draw ?? what) === what)
  if (options.svg !== undefined && drawn?.trace) {
    await writeFile(options.svg, ganttSvg({ ...drawn, trace: drawn.trace, scale: comparison.scale }))
    say(`The last "${drawn.what}" is drawn in ${options.svg}.`)
  }
  if (options.json) console.log(JSON.stringify(comparison))
  else console.log(printComparison(comparison))
}
