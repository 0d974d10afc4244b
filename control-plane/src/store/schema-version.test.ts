import { readdir } from 'node:fs/promises'
import { expect, test } from 'vitest'
import { NEEDED_MIGRATION } from './schema-version.ts'

test('the migration that a ready control plane needs is the newest that there is', async () => {
  const names = await readdir(new URL('./sql/', import.meta.url))
  expect(names.toSorted().at(-1)).toBe(NEEDED_MIGRATION)
})
