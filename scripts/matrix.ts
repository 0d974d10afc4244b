import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import type { JsonTestResults } from 'vitest/node'

/*
 * The tests that start servers, on one PostgreSQL after the other, and the crash matrix. Prints a line for each run, and
 * last `N passed, N failed[, N skipped]`, taken from the runner's own reports.
 *
 *   --majors 13,15,17,18      default: all four
 *   --project servers,swap    servers: those of every day; swap: all that a swap keeps, refuses and survives;
 *                             search: the search index; trust: histories, forged orders, killed connections;
 *                             operate: installing, upgrading, recovering; matrix: crashes. Default: all six
 *   --report file.json        the sums, under the names of the runner's own report
 */

const DEFAULT_MAJORS = '13,15,17,18'
const DEFAULT_PROJECTS = 'servers,swap,search,trust,operate,matrix'

interface Counts {
  passed: number
  failed: number
  skipped: number
  isGreen: boolean
}

/** A run that ended without a report counts as one failure. */
async function runTests(major: string, project: string, folder: string): Promise<Counts> {
  const report = join(folder, `${project}-${major}.json`)
  const child = spawn(
    process.execPath,
    [
      'node_modules/vitest/vitest.mjs',
      'run',
      '--config',
      'scripts/vitest.config.ts',
      '--root',
      '.',
      '--project',
      project,
      '--reporter=default',
      '--reporter=json',
      `--outputFile.json=${report}`,
    ],
    { stdio: 'inherit', env: { ...process.env, PG_MAJOR: major } },
  )
  const [code] = (await once(child, 'exit')) as [number | null]
  try {
    const found = JSON.parse(await readFile(report, 'utf8')) as JsonTestResults
    return {
      passed: found.numPassedTests,
      failed: found.numFailedTests,
      skipped: found.numPendingTests + found.numTodoTests,
      isGreen: code === 0 && found.success && found.numPassedTests > 0,
    }
  } catch {
    return { passed: 0, failed: 1, skipped: 0, isGreen: false }
  }
}

function lineOf({ passed, failed, skipped }: Omit<Counts, 'isGreen'>): string {
  return `${passed} passed, ${failed} failed${skipped > 0 ? `, ${skipped} skipped` : ''}`
}

const { values } = parseArgs({
  options: {
    majors: { type: 'string', default: DEFAULT_MAJORS },
    project: { type: 'string', default: DEFAULT_PROJECTS },
    report: { type: 'string' },
  },
})
const folder = await mkdtemp(join(tmpdir(), 'matrix-'))
const total = { passed: 0, failed: 0, skipped: 0 }
const lines: string[] = []
for (const major of values.majors.split(',')) {
  for (const project of values.project.split(',')) {
    const startedMs = performance.now()
    const counts = await runTests(major, project, folder)
    const seconds = Math.round((performance.now() - startedMs) / 1000)
    lines.push(`PostgreSQL ${major}, ${project}: ${lineOf(counts)}, ${seconds} s`)
    total.passed += counts.passed
    total.failed += counts.failed
    total.skipped += counts.skipped
    if (!counts.isGreen) process.exitCode = 1
  }
}
await rm(folder, { recursive: true, force: true })
if (values.report !== undefined) {
  const { passed, failed, skipped } = total
  const success = process.exitCode === undefined
  const sums = { numPassedTests: passed, numFailedTests: failed, numPendingTests: skipped, numTodoTests: 0, success }
  await writeFile(values.report, JSON.stringify(sums))
}
process.stdout.write(`\n${lines.join('\n')}\n${lineOf(total)}\n`)
