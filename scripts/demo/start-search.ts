import { randomBytes } from 'node:crypto'

import { startTypesense } from '../../shared/testing/typesense.ts'
import { removeCollections, type SearchServer } from '../search-server.ts'

export interface DemoSearch extends SearchServer, AsyncDisposable {
  /** What the demo's collection is searched by. */
  alias: string
  /** Ours, on loopback; else the server that was named. */
  isStandIn: boolean
}

/**
 * A stand-in for Typesense in this process, on loopback; or the server given, where the demo makes an alias of its own and
 * removes it in the end, with what is behind it.
 */
export async function startSearch(given: SearchServer | undefined): Promise<DemoSearch> {
  if (given === undefined) {
    const server = await startTypesense({ apiKey: randomBytes(18).toString('base64url') })
    const { url, apiKey } = server
    const close = async () => await server.close()
    return { url, apiKey, alias: 'components', isStandIn: true, [Symbol.asyncDispose]: close }
  }
  const alias = `multiboard_sync_demo_${randomBytes(4).toString('hex')}`
  const remove = async () => await removeCollections(given, alias)
  return { ...given, alias, isStandIn: false, [Symbol.asyncDispose]: remove }
}

/** agent.yaml's lines for the demo's collection: one document for each part, with the name of its category. */
export function collectionYaml(alias: string): string {
  return `collections:
  ${alias}:
    sql: |
      select c.id, c.name, c.description, g.name as category, c.status, c.tags, c.price, c."updatedAt"
      from public."Component" as c
      join public."Category" as g on g.id = c."categoryId"
    depends_on: [public.Component, public.Category]
    fields:
      - { name: name, type: string }
      - { name: description, type: string, optional: true }
      - { name: category, type: string, facet: true }
      - { name: status, type: string, facet: true }
      - { name: tags, type: 'string[]', facet: true }
      - { name: price, type: float, optional: true, approximate: true }
      - { name: updatedAt, type: int64, as: epoch_ms }
    collection: { default_sorting_field: updatedAt }
`
}
