import { describe, expect, it } from 'vitest'
import type { Generation } from '../generation.ts'
import { chooseMode, type ModeFacts } from './choose-mode.ts'

const sha256 = 'a'.repeat(64)
const generation: Generation = {
  alias: 'components',
  job: 'j4k7q2m9xw1ab',
  made_at: '2026-11-22T16:03:00Z',
  mapping_sha256: sha256,
  state: 'complete',
}
const unchanged: ModeFacts = {
  full: false,
  alias: 'components',
  live: 'components__20261122T160300Z_j4k7q2m9xw1ab',
  generation,
  isPlain: false,
  drift: [],
  mappingSha256: sha256,
}

describe('the mode', () => {
  it('is incremental for a proven generation of the same mapping and schema', () => {
    expect(chooseMode(unchanged).mode).toBe('incremental')
  })

  it.each<[string, Partial<ModeFacts>, RegExp]>([
    ['when it is asked for', { full: true }, /^asked for$/],
    ['when there is no index yet', { live: undefined, generation: undefined }, /no index yet/],
    ["when a plain collection bears the alias's name", { isPlain: true, generation: undefined }, /plain collection/],
    ['when the collection behind the alias is foreign', { generation: undefined }, /not of our making/],
    ['when it was made for another alias', { generation: { ...generation, alias: 'parts' } }, /was made for parts/],
    ['when it was never proven', { generation: { ...generation, state: 'building' } }, /never proven/],
    ['when the schema has drifted', { drift: ['title: string there'] }, /schema behind the alias/],
    ['when the mapping has changed', { mappingSha256: 'b'.repeat(64) }, /mapping has changed/],
  ])('is full %s, and the reason says so', (_when, change, reason) => {
    const chosen = chooseMode({ ...unchanged, ...change })
    expect(chosen.mode).toBe('full')
    expect(chosen.reason).toMatch(reason)
  })
})
