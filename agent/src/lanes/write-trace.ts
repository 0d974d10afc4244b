import { mkdir, readdir, rename, rm, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { Span } from './trace.ts'

/** Enough to compare a slow job with those before it. */
const KEPT = 20
const SUFFIX = '.json'

/** What ran when in one job, as it is kept for people and for the bench's picture. Names and times, never values. */
export interface WrittenTrace {
  job: string
  /** Of the job: sync, export, … */
  kind: string
  /** How many lanes it had. Phases are on lane 0. */
  lanes: number
  spans: Span[]
}

/** Keeps `<stateDir>/traces/<job>.json`, and of older ones the newest 20. Throws what the disk throws. */
export async function writeTrace(stateDir: string, trace: WrittenTrace): Promise<void> {
  const folder = join(stateDir, 'traces')
  await mkdir(folder, { recursive: true, mode: 0o700 })
  const path = join(folder, `${trace.job}${SUFFIX}`)
  // Whole or not at all: a reader may come at any time.
  const part = `${path}.part`
  try {
    await writeFile(part, JSON.stringify(trace), { mode: 0o600 })
    await rename(part, path)
  } catch (error) {
    // A disk that is full keeps what it has got of a file.
    await rm(part, { force: true })
    throw error
  }
  await removeOld(folder)
}

async function removeOld(folder: string): Promise<void> {
  const names = (await readdir(folder)).filter((name) => name.endsWith(SUFFIX))
  const dated = await Promise.all(
    names.map(async (name) => {
      const path = join(folder, name)
      // Another process of the agent may have removed it meanwhile.
      const found = await stat(path).catch(() => undefined)
      return { path, atMs: found?.mtimeMs ?? 0 }
    }),
  )
  const old = dated.toSorted((a, b) => b.atMs - a.atMs).slice(KEPT)
  await Promise.all(old.map(async ({ path }) => await rm(path, { force: true })))
}
