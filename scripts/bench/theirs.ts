import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { measureCost, type Cost } from './measure-cost.ts'
import type { Scene } from './open-scene.ts'

/*
 * What one would run instead. The tools are looked for in PATH and never installed; those of another major than the servers
 * are left out, because pg_dump refuses newer servers, and what a newer one writes an older server may not read.
 */

export interface TheirRun {
  what: string
  cost: Cost
}

export interface Tools {
  hasDump: boolean
  hasPgcopydb: boolean
  /** Their versions, or why they do not take part. */
  notes: string[]
}

export function findTools(major: number): Tools {
  const [dump, restore, pgcopydb] = [versionOf('pg_dump'), versionOf('pg_restore'), versionOf('pgcopydb')]
  const isDumpOfMajor = [dump, restore].every((version) => version?.includes(`(PostgreSQL) ${major}.`) ?? false)
  // It runs pg_dump and pg_restore itself.
  const hasPgcopydb = isDumpOfMajor && pgcopydb !== undefined
  return {
    hasDump: isDumpOfMajor,
    hasPgcopydb,
    notes: [
      isDumpOfMajor ? `${dump}` : `pg_dump and pg_restore ${major} are not in PATH (${dump ?? 'none'}): left out`,
      hasPgcopydb
        ? `${pgcopydb}`
        : `pgcopydb ${pgcopydb === undefined ? 'is not in PATH' : 'needs them, too'}: left out`,
    ],
  }
}

function versionOf(tool: string): string | undefined {
  const { stdout, status } = spawnSync(tool, ['--version'], { encoding: 'utf8' })
  return status === 0 ? (stdout.split('\n')[0] ?? '').replace(' version ', ' ') : undefined
}

/** `pg_dump -Fd -j2 -Z1` into a folder, then `pg_restore -j2` into an empty database. */
export async function dumpAndRestore(scene: Scene): Promise<[dump: TheirRun, restore: TheirRun, bytes: number]> {
  const folder = join(scene.folder, 'dump')
  const [source, target] = [scene.source.url('production'), scene.target.url('staging')]
  try {
    const dumping = await measureTool(scene, 'pg_dump', ['-Fd', '-j2', '-Z1', '-f', folder, '-d', source])
    const bytes = Number(spawnSync('du', ['-sb', folder], { encoding: 'utf8' }).stdout.split('\t')[0])
    const restoring = await measureTool(scene, 'pg_restore', ['-j2', '-d', target, folder])
    return [{ what: 'pg_dump', cost: dumping }, { what: 'pg_restore', cost: restoring }, bytes]
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
}

/** `pgcopydb clone --table-jobs 2 --index-jobs 2` into an empty database. */
export async function clone(scene: Scene): Promise<TheirRun> {
  const folder = join(scene.folder, 'pgcopydb')
  const [source, target] = [scene.source.url('production'), scene.target.url('staging')]
  try {
    const jobs = ['--table-jobs', '2', '--index-jobs', '2']
    const args = ['clone', ...jobs, '--source', source, '--target', target, '--dir', folder]
    return { what: 'pgcopydb', cost: await measureTool(scene, 'pgcopydb', args) }
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
}

async function measureTool({ source, target }: Scene, tool: string, args: string[]): Promise<Cost> {
  const watched = { source: source.pid, target: target.pid, store: undefined, client: undefined }
  const { cost } = await measureCost(watched, async () => {
    const child = spawn(tool, args, { stdio: ['ignore', 'ignore', 'pipe'] })
    const [said, [code]] = await Promise.all([text(child.stderr), once(child, 'close') as Promise<[number | null]>])
    if (code !== 0) throw new Error(`${tool} ended with ${code}:\n${said.slice(-2000)}`)
  })
  return cost
}
