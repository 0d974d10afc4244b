import { mkdir, mkdtemp, readdir, readFile, rm, symlink, utimes } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { writeTrace } from './write-trace.ts'

async function newFolder(): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'trace-'))
  onTestFinished(async () => await rm(folder, { recursive: true }))
  return folder
}

test('a trace is kept under its job, and read back as it was', async () => {
  const folder = await newFolder()
  const span = { lane: 1, kind: 'copy', name: 'public.a', begin_ms: 1, end_ms: 2 } as const
  const trace = { job: 'j000000000001', kind: 'sync', lanes: 4, spans: [span] }
  await writeTrace(folder, trace)
  expect(JSON.parse(await readFile(join(folder, 'traces', 'j000000000001.json'), 'utf8'))).toEqual(trace)
})

test('of many traces the newest twenty are kept', async () => {
  const folder = await newFolder()
  const names = Array.from({ length: 22 }, (_, n) => `j0000000000${String(n).padStart(2, '0')}`)
  for (const [n, job] of names.entries()) {
    await writeTrace(folder, { job, kind: 'sync', lanes: 4, spans: [] })
    await utimes(join(folder, 'traces', `${job}.json`), n, n)
  }
  await writeTrace(folder, { job: 'jlast', kind: 'sync', lanes: 4, spans: [] })
  const kept = (await readdir(join(folder, 'traces'))).toSorted()
  expect(kept).toEqual([...names.slice(3), 'jlast'].map((name) => `${name}.json`).toSorted())
})

test('a trace that cannot be kept leaves no part of it', async () => {
  const folder = await newFolder()
  await mkdir(join(folder, 'traces', 'j000000000001.json'), { recursive: true })
  const written = writeTrace(folder, { job: 'j000000000001', kind: 'sync', lanes: 4, spans: [] })
  await expect(written).rejects.toMatchObject({ code: 'EISDIR' })
  expect(await readdir(join(folder, 'traces'))).toEqual(['j000000000001.json'])
})

test('an old trace that is gone when it is looked at keeps no other from being kept', async () => {
  const folder = await newFolder()
  await mkdir(join(folder, 'traces'))
  await symlink('nowhere', join(folder, 'traces', 'j000000000001.json'))
  await writeTrace(folder, { job: 'j000000000002', kind: 'sync', lanes: 4, spans: [] })
  expect(await readdir(join(folder, 'traces'))).toContain('j000000000002.json')
})
