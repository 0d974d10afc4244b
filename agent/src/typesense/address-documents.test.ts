import { expect, it } from 'vitest'
import { addressDocument, addressDocuments } from './address-documents.ts'

it('plain ids share a filter, up to 200 of them', () => {
  const ids = Array.from({ length: 450 }, (_, n) => `id${n}`)
  const { filters, paths, unnameable } = addressDocuments(ids)
  expect(filters.map((filter) => filter.split(',').length)).toEqual([200, 200, 50])
  expect(filters[2]).toMatch(/^id:=\[`id400`,.*`id449`\]$/)
  expect({ paths, unnameable }).toEqual({ paths: [], unnameable: 0 })
})

it('no filter is longer than 4 KB in a URL', () => {
  const ids = Array.from({ length: 300 }, (_, n) => `Größe/ключ ${n} ${'x'.repeat(1 + (n % 90))}`)
  const { filters } = addressDocuments(ids)
  for (const filter of filters) expect(encodeURIComponent(filter).length).toBeLessThanOrEqual(4096 + 20)
  expect(filters.flatMap((filter) => filter.match(/`[^`]+`/g) ?? [])).toEqual(ids.map((id) => `\`${id}\``))
})

it.each(['*', ' * ', 'a`b', 'a\\', ' a', 'a ', '\ta', 'a && b', '(a)', 'a||id:=b', '!x', '$x', '"q"', 'a\nb', '{x}'])(
  'the id %j is named by a path and never in a filter',
  (id) => {
    expect(addressDocuments([id])).toEqual({ filters: [], paths: [encodeURIComponent(id)], unnameable: 0 })
  },
)

it.each(['.', '..', '../x', 'a/../..', 'a/./b', 'search', 'export'])(
  'the id %j is named by a filter and never by a path',
  (id) => {
    expect(addressDocuments([id])).toEqual({ filters: [`id:=[\`${id}\`]`], paths: [], unnameable: 0 })
    expect(addressDocument(id)).toEqual({ filter: `id:=[\`${id}\`]` })
  },
)

it.each(['`/../..', '*/..', '..\\', '\ud800'])('the id %j is named by nothing', (id) => {
  expect(addressDocuments([id])).toEqual({ filters: [], paths: [], unnameable: 1 })
  expect(addressDocument(id)).toBeUndefined()
})

it.each(['a,b', 'x]y', 'https://example.com/a?b', 'ünï', '日本', '1.0', 'a b'])(
  'the id %j is read by its path',
  (id) => {
    expect(addressDocument(id)).toEqual({ path: encodeURIComponent(id) })
  },
)
