import { describe, expect, it } from 'vitest'
import { probeRights } from './probe-rights.ts'

const names = { alias: 'components', probe: 'components__20261122T160300Z_j4k7q2m9xw1ab', hasSets: true }

describe('the rights of a key', () => {
  it('are all there when no probe is answered by 401', async () => {
    expect(await probeRights(async () => 404, names)).toEqual([])
  })

  it('are named once each when nothing is allowed', async () => {
    const missing = await probeRights(async () => 401, names)
    expect(missing).toHaveLength(new Set(missing).size)
    expect(missing).toEqual(expect.arrayContaining(['collections:create', 'documents:import', 'aliases:upsert']))
  })

  it('are asked for with requests that change nothing: only a generation that does not exist is named', async () => {
    const asked: string[] = []
    await probeRights(async (method, path, body) => {
      asked.push(`${method} ${path} ${body ?? ''}`)
      return 404
    }, names)
    const writes = asked.filter((request) => !request.startsWith('GET '))
    for (const request of writes) {
      const isOfNothing = request.includes(names.probe) || request === 'PUT /aliases/components {}'
      expect(isOfNothing, request).toBe(true)
      expect(request).not.toContain('filter_by')
      expect(request).not.toContain('"fields"')
      expect(request).not.toContain('collection_name')
    }
  })

  it('include synonyms and overrides of a collection before version 30, and the sets from it on', async () => {
    const old = await probeRights(async () => 401, { ...names, hasSets: false })
    expect(old).toEqual(expect.arrayContaining(['synonyms:list', 'overrides:upsert']))
    expect(await probeRights(async () => 401, names)).toContain('synonym_sets:list')
  })
})
