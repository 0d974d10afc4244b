import { appendFileSync } from 'node:fs'
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { inject } from 'vitest'
import type { TestProject } from 'vitest/node'

/* What was tried and what came out intact, of all files of the matrix: printed once they have all ended. */

declare module 'vitest' {
  interface ProvidedContext {
    tally: string
  }
}

interface Tried {
  /** swap, merge, truncate, create, undo. */
  engine: string
  /** What happened to it. */
  fate: string
  isIntact: boolean
}

/** Runs a point and notes how it went; rejects as the point does. */
export async function tally(engine: string, fate: string, point: () => Promise<void>): Promise<void> {
  let isIntact = false
  try {
    await point()
    isIntact = true
  } finally {
    const tried: Tried = { engine, fate, isIntact }
    appendFileSync(inject('tally'), `${JSON.stringify(tried)}\n`)
  }
}

/** Global set-up of the matrix: vitest calls what it returns at the end. */
export async function setup(project: TestProject): Promise<() => Promise<void>> {
  const folder = await mkdtemp(join(tmpdir(), 'mbs-tally-'))
  const path = join(folder, 'tried.jsonl')
  appendFileSync(path, '')
  project.provide('tally', path)
  return async () => {
    const lines = (await readFile(path, 'utf8')).trim().split('\n')
    await rm(folder, { recursive: true, force: true })
    process.stdout.write(table(lines.filter((line) => line !== '').map((line) => JSON.parse(line) as Tried)))
  }
}

function table(tried: Tried[]): string {
  const engines = [...new Set(tried.map(({ engine }) => engine))].toSorted()
  const fates = [...new Set(tried.map(({ fate }) => fate))].toSorted()
  const cell = (some: Tried[]): string =>
    some.length === 0 ? '-' : `${some.length} / ${some.filter(({ isIntact }) => isIntact).length}`
  const rows = [
    ['tried / intact', ...engines, 'all'],
    ...[...fates, 'all'].map((fate) => {
      const of = tried.filter((one) => fate === 'all' || one.fate === fate)
      return [fate, ...engines.map((engine) => cell(of.filter((one) => one.engine === engine))), cell(of)]
    }),
  ]
  const widths = rows[0]?.map((_, column) => Math.max(...rows.map((row) => row[column]?.length ?? 0))) ?? []
  const lines = rows.map((row) =>
    row
      .map((text, column) => text.padEnd(widths[column] ?? 0))
      .join('  ')
      .trimEnd(),
  )
  return `\nCrash matrix\n${lines.join('\n')}\n\n`
}
