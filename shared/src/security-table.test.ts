import { readFileSync } from 'node:fs'
import { expect, test } from 'vitest'

const root = new URL('../../', import.meta.url)
const read = (path: string): string => readFileSync(new URL(path, root), 'utf8')

/** Rows of docs/SECURITY.md: number, threat or promise, what is done, tests. */
const rows = read('docs/SECURITY.md')
  .split('\n')
  .flatMap((line) => {
    const [number = '', , , proof = ''] = line.split(' | ').map((cell) => cell.replaceAll(/^\| | \|$/g, ''))
    return /^[TG]\d+$/.test(number)
      ? [{ number, files: [...proof.matchAll(/`([^`]+)`/g)].map(([, file = '']) => file) }]
      : []
  })

test('docs/SECURITY.md has every threat and every promise once', () => {
  const numbers = (letter: string, last: number): string[] =>
    Array.from({ length: last }, (_, n) => `${letter}${n + 1}`)
  const expected = [...numbers('T', 25).filter((number) => number !== 'T16'), ...numbers('G', 22)]
  expect(rows.map(({ number }) => number)).toEqual(expected)
})

test.each(rows)('docs/SECURITY.md names tests of $number that are there and bear its number', ({ number, files }) => {
  expect(files).not.toEqual([])
  for (const file of files) expect(read(file), file).toMatch(new RegExp(String.raw`\b${number}\b`))
})
