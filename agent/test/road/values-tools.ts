import { spawn } from 'node:child_process'
import { accessSync, constants } from 'node:fs'
import { delimiter, join } from 'node:path'
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { createGunzip } from 'node:zlib'
import type { World } from './world.ts'

const DEADLINE_MS = 60_000

/** Whether a program of PostgreSQL's own lies on the PATH. */
export function hasTool(name: 'psql' | 'pg_dump'): boolean {
  return (process.env['PATH'] ?? '').split(delimiter).some((folder) => {
    try {
      accessSync(join(folder, name), constants.X_OK)
      return true
    } catch {
      return false
    }
  })
}

/** The major version of pg_dump; undefined where there is none. */
export async function majorOfPgDump(): Promise<number | undefined> {
  if (!hasTool('pg_dump')) return undefined
  const text = await run('pg_dump', ['--version'], [])
  return Number(/\b(\d+)(?:\.|devel|beta|rc)/.exec(text)?.[1])
}

/** pg_dump's whole text, rows included; without the agent's own schema and the line that is another one each time. */
export async function pgDump(url: string): Promise<string[]> {
  const text = await run('pg_dump', ['-N', 'multiboard_sync', url], [])
  return text.split('\n').filter((line) => !/^\\(un)?restrict /.test(line))
}

/** As RESTORE.txt says: the objects in the order of their names through gunzip into `psql -1`. Throws what psql complains of. */
export async function restoreWithPsql(world: World, archive: string | undefined, url: string): Promise<void> {
  const keys = await world.store.keys(world.bucket, `mbs/archives/${archive}/`)
  const objects: Buffer[] = []
  for (const key of keys.filter((one) => one.endsWith('.sql.gz')))
    objects.push(await world.store.read(world.bucket, key))
  await run('psql', ['-X', '-q', '-1', '-v', 'ON_ERROR_STOP=1', url], objects)
}

/** Runs a program on compressed input; answers what it printed. Throws its complaints when it fails. */
async function run(program: string, args: string[], input: Buffer[]): Promise<string> {
  const child = spawn(program, args, { signal: AbortSignal.timeout(DEADLINE_MS) })
  const output: Buffer[] = []
  const complaints: Buffer[] = []
  child.stdout.on('data', (chunk: Buffer) => output.push(chunk))
  child.stderr.on('data', (chunk: Buffer) => complaints.push(chunk))
  const ended = new Promise<number | null>((resolve, reject) => {
    child.once('error', reject)
    child.once('close', resolve)
  })
  if (input.length === 0) child.stdin.end()
  // A program that stops at an error reads no further; its exit code says so.
  else await pipeline(Readable.from(input), createGunzip(), child.stdin).catch(() => undefined)
  const code = await ended
  if (code !== 0) throw new Error(`${program} ended with ${code}: ${Buffer.concat(complaints).toString()}`)
  return Buffer.concat(output).toString()
}
