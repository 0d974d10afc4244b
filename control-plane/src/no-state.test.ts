import { glob, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { expect, test } from 'vitest'

/** What a module would keep from one request to the next. A ReadonlySet of constants is none. */
const keeps = [
  /^(export )?(let|var) /,
  /^(export )?const \w+(: (?!Readonly)[^=]+)? = (await )?(new (Map|Set|WeakMap|WeakSet|Array)\b|\[\]|\{\})/,
]

test('no module of the control plane keeps anything between requests', async () => {
  const folder = import.meta.dirname
  const found: string[] = []
  let read = 0
  for await (const name of glob('**/*.ts', { cwd: folder })) {
    if (name.endsWith('.test.ts')) continue
    const lines = (await readFile(join(folder, name), 'utf8')).split('\n')
    read += 1
    found.push(...lines.filter((line) => keeps.some((kept) => kept.test(line))).map((line) => `${name}: ${line}`))
  }
  expect(read).toBeGreaterThan(50)
  expect(found).toEqual([])
})
