import { readdir, readFile } from 'node:fs/promises'
import { expect, it } from 'vitest'

const HERE = new URL('.', import.meta.url)
const DOCUMENT = new URL('../../../docs/S3-PROVIDERS.md', import.meta.url)

it('docs/S3-PROVIDERS.md names exactly the calls that the agent makes, and none deletes an object', async () => {
  const files = (await readdir(HERE)).filter((name) => name.endsWith('.ts') && !name.endsWith('.test.ts'))
  const sources = await Promise.all(files.map(async (name) => await readFile(new URL(name, HERE), 'utf8')))
  const calls = new Set([...sources.join('\n').matchAll(/\b([A-Z]\w+)Command\b/g)].map(([, call]) => call ?? ''))

  const section = /## What the agent's key must be allowed\n([^]*?)\n## /.exec(await readFile(DOCUMENT, 'utf8'))?.[1]
  const rows = [...(section ?? '').matchAll(/^\| (`.*?) \|/gm)].map(([, cell]) => cell ?? '')
  const documented = rows.flatMap((cell) => [...cell.matchAll(/`(\w+)`/g)].map(([, call]) => call ?? ''))
  expect(documented.toSorted((a, b) => a.localeCompare(b))).toEqual([...calls].toSorted((a, b) => a.localeCompare(b)))
  expect(documented.filter((call) => call.startsWith('Delete'))).toEqual([])
})
