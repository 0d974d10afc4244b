import type { CollectionCreateSchema } from 'typesense'
import { SyncError } from '@multiboard-sync/shared/sync-error'
import { z } from 'zod'
import { systemClock } from '../report/clock.ts'
import { aliasSchema, aliasesSchema, namedSchema, parseCollection, parseCollections } from './answer-schemas.ts'
import type { Connected } from './open-client.ts'
import { changed, orUndefined, parser } from './read-answers.ts'
import { AnswerError } from './search-error.ts'
import type { Collection, Typesense } from './typesense.ts'

/*
 * Collections and aliases. The server takes an alias wherever it takes a collection's name: DELETE drops what is behind it,
 * PATCH writes to the wrong place, and POST makes an empty collection that hides it. So names are looked up before each change.
 */

/** The server answers a copy when all documents are in it. */
const COPY_TIMEOUT_MS = 600_000

/** Behind a load balancer another server of the cluster may answer, a moment behind. */
const READ_BACK_MS = [50, 100, 200, 400, 800, 0]

type Collections = Pick<
  Typesense,
  | 'listAliases'
  | 'putAlias'
  | 'listCollections'
  | 'findCollection'
  | 'createCollection'
  | 'copyCollection'
  | 'setMetadata'
  | 'dropCollection'
>

export function changeCollections({ client, wire, ask, hasSets, signal }: Connected): Collections {
  async function listAliases(): Promise<Map<string, string>> {
    const { aliases } = await ask('listing aliases', client.aliases().retrieve(), parser(aliasesSchema))
    return new Map(aliases.map((alias) => [alias.name, alias.collection_name]))
  }

  async function findCollection(name: string): Promise<Collection | undefined> {
    const asked = ask(`reading the collection ${name}`, client.collections(name).retrieve(), parseCollection)
    const found = await orUndefined(asked)
    // Asked by an alias, the server answers with what is behind it.
    return found?.name === name ? found : undefined
  }

  async function refuseAlias(name: string): Promise<void> {
    if (!(await listAliases()).has(name)) return
    throw changed(`An alias is called ${name}: a collection of that name would hide what is behind it.`)
  }

  return {
    listAliases,
    async putAlias(alias, collection) {
      // The server does not ask whether the collection exists.
      if (!(await findCollection(collection))) {
        throw changed(`There is no collection ${collection} that the alias ${alias} could point to.`)
      }
      const doing = `pointing the alias ${alias}`
      await ask(doing, client.aliases().upsert(alias, { collection_name: collection }), parser(aliasSchema))
      for (const waitMs of READ_BACK_MS) {
        const asked = ask(`reading the alias ${alias}`, client.aliases(alias).retrieve(), parser(aliasSchema))
        if ((await orUndefined(asked))?.collection_name === collection) return
        await systemClock.sleep(waitMs, signal)
      }
      throw new SyncError('search-failed', `The alias ${alias} does not point to ${collection} after it was set.`, {
        hint: 'Look whether something else sets this alias, and reindex.',
      })
    },
    listCollections: async () => await ask('listing collections', client.collections().retrieve(), parseCollections),
    findCollection,
    async createCollection({ name, schema, metadata, synonymSets, curationSets }) {
      await refuseAlias(name)
      const body: CollectionCreateSchema = { ...schema, name, metadata } as CollectionCreateSchema
      if (hasSets && synonymSets) body.synonym_sets = synonymSets
      if (hasSets && curationSets) body.curation_sets = curationSets
      try {
        await ask(`making the collection ${name}`, client.collections().create(body), parser(namedSchema))
      } catch (error) {
        // The answer to an earlier attempt may have been lost.
        if (!(error instanceof AnswerError) || error.status !== 409) throw error
        const there = await findCollection(name)
        if (!there || there.documents > 0 || !isSame(there.metadata, metadata)) throw error
      }
    },
    async copyCollection(from, to) {
      if (!hasSets) throw new SyncError('search-failed', 'The search server is too old to copy a collection.')
      await refuseAlias(to)
      await wire.send({
        method: 'POST',
        path: `/collections?src_name=${encodeURIComponent(from)}&copy_documents=true`,
        body: { bytes: JSON.stringify({ name: to }), contentType: 'application/json' },
        replyMs: COPY_TIMEOUT_MS,
        doing: `copying the collection ${from}`,
      })
    },
    async setMetadata(name, metadata) {
      if (!(await findCollection(name))) throw changed(`There is no collection ${name} any more.`)
      await ask(`marking the collection ${name}`, client.collections(name).update({ metadata }), parser(z.unknown()))
    },
    async dropCollection(name) {
      for (const [alias, collection] of await listAliases()) {
        if (alias === name) throw changed(`${name} is an alias, not a collection: it is not dropped.`)
        if (collection === name) throw changed(`The alias ${alias} points to ${name}: it is not dropped.`)
      }
      const asked = ask(`dropping the collection ${name}`, client.collections(name).delete(), parser(namedSchema))
      const dropped = await orUndefined(asked)
      if (dropped && dropped.name !== name) throw changed(`Instead of ${name} the server dropped ${dropped.name}.`)
    },
  }
}

/** As JSON: the server sorts keys. */
function isSame(a: unknown, b: unknown): boolean {
  return JSON.stringify(sortKeys(a)) === JSON.stringify(sortKeys(b))
}

function sortKeys(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(sortKeys)
  if (typeof value !== 'object' || value === null) return value
  const entries = Object.entries(value).toSorted(([a], [b]) => (a < b ? -1 : 1))
  return Object.fromEntries(entries.map(([key, inner]: [string, unknown]) => [key, sortKeys(inner)]))
}
