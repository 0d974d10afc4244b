import { overridesSchema, synonymsSchema } from './answer-schemas.ts'
import type { Connected } from './open-client.ts'
import { parseText } from './read-answers.ts'
import type { Typesense } from './typesense.ts'

/**
 * Before version 30 synonyms and overrides belong to one collection. They go past the client, which complains of them on
 * the console.
 */
export function carryBelongings({ wire, hasSets }: Connected): Pick<Typesense, 'readBelongings' | 'writeBelongings'> {
  const path = (name: string, kind: string): string => `/collections/${encodeURIComponent(name)}/${kind}`

  return {
    async readBelongings(name) {
      if (hasSets) return { synonyms: [], overrides: [] }
      const doing = `reading the synonyms and overrides of ${name}`
      const synonyms = await wire.send({ method: 'GET', path: path(name, 'synonyms'), doing })
      const overrides = await wire.send({ method: 'GET', path: path(name, 'overrides'), doing })
      return {
        synonyms: parseText(synonyms.text, synonymsSchema, doing).synonyms,
        overrides: parseText(overrides.text, overridesSchema, doing).overrides,
      }
    },
    async writeBelongings(name, { synonyms, overrides }) {
      const doing = `writing the synonyms and overrides of ${name}`
      const put = async (kind: string, { id, ...rest }: Record<string, unknown>): Promise<void> => {
        const where = `${path(name, kind)}/${encodeURIComponent(String(id))}`
        const body = { bytes: JSON.stringify(rest), contentType: 'application/json' }
        await wire.send({ method: 'PUT', path: where, body, doing, isPrivate: true })
      }
      for (const synonym of synonyms) await put('synonyms', synonym)
      for (const override of overrides) await put('overrides', override)
    },
  }
}
