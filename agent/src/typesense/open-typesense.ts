import type { CollectionCreateSchema } from 'typesense'
import { SyncError } from '@multiboard-sync/shared/sync-error'
import { z } from 'zod'
import { addressDocument, addressDocuments } from './address-documents.ts'
import {
  aliasSchema,
  aliasesSchema,
  debugSchema,
  deletedSchema,
  healthSchema,
  metricsSchema,
  namedSchema,
  overridesSchema,
  parseCollection,
  parseCollections,
  searchSchema,
  setsSchema,
  statsSchema,
  statusSchema,
  synonymsSchema,
} from './answer-schemas.ts'
import { openClient } from './open-client.ts'
import { probeRights } from './probe-rights.ts'
import { readImportAnswer } from './read-import-answer.ts'
import { AnswerError, garbled } from './search-error.ts'
import { openWire } from './send-requests.ts'
import type { Collection, Typesense } from './typesense.ts'

/** The server answers an import when everything of it is indexed, and what was queued before it. */
const IMPORT_TIMEOUT_MS = 600_000
/** What a line of the answer takes at most, beside the document that older servers echo. */
const ANSWER_LINE_BYTES = 1024

/** Asks the server for its version: `search-auth`, or `search-unreachable` (retryable), when it does not tell. */
export async function openTypesense(options: { url: URL; apiKey: string; signal: AbortSignal }): Promise<Typesense> {
  const { signal } = options
  const wire = openWire(options)
  try {
    return await connect()
  } catch (error) {
    await wire[Symbol.asyncDispose]()
    throw error
  }

  /** Runs one request of the client and reads its answer. */
  async function ask<T>(doing: string, request: Promise<unknown>, read: (answer: unknown) => T): Promise<T> {
    let answer: unknown
    try {
      answer = await request
    } catch (error) {
      signal.throwIfAborted()
      // What is not of our wire is the client's: it could not parse the answer.
      throw error instanceof SyncError ? error : garbled(doing, error)
    }
    try {
      return read(answer)
    } catch (error) {
      throw garbled(doing, error)
    }
  }

  async function connect(): Promise<Typesense> {
    const client = await openClient(wire)
    const { version: text } = await ask('asking for its version', client.debug.retrieve(), parser(debugSchema))
    const major = readMajor(text)
    const hasSets = major >= 30

    async function askStatus(method: string, where: string, text?: string): Promise<number> {
      const body = text === undefined ? {} : { body: { bytes: text, contentType: 'application/json' } }
      try {
        const doing = 'probing the rights of the key'
        return (await wire.send({ method, path: where, ...body, doing, isPrivate: true })).status
      } catch (error) {
        if (error instanceof AnswerError && !error.retryable) return error.status
        throw error
      }
    }

    const path = (name: string): string => `/collections/${encodeURIComponent(name)}`

    async function listAliases(): Promise<Map<string, string>> {
      const { aliases } = await ask('listing aliases', client.aliases().retrieve(), parser(aliasesSchema))
      return new Map(aliases.map((alias) => [alias.name, alias.collection_name]))
    }

    async function findCollection(name: string): Promise<Collection | undefined> {
      const found = await orUndefined(
        ask(`reading the collection ${name}`, client.collections(name).retrieve(), parseCollection),
      )
      // Asked by an alias, the server answers with what is behind it.
      return found?.name === name ? found : undefined
    }

    return {
      version: { major, text },
      hasSets,
      async health() {
        try {
          const health = await ask('asking for its health', client.health.retrieve(), parser(healthSchema))
          const { ok, resource_error: resourceError } = health
          return resourceError === undefined ? { ok } : { ok, resourceError }
        } catch (error) {
          if (error instanceof AnswerError && error.status === 503) return { ok: false }
          throw error
        }
      },
      async queuedWrites() {
        const doing = 'asking for its queue'
        const status = await orUndefined(wire.send({ method: 'GET', path: '/status', doing }), [401, 404])
        if (status) return parseText(status.text, statusSchema, doing).queued_writes
        const stats = await wire.send({ method: 'GET', path: '/stats.json', doing })
        return parseText(stats.text, statsSchema, doing).pending_write_batches
      },
      async capacity() {
        const asked = ask('asking for its metrics', client.metrics.retrieve(), parser(metricsSchema))
        const metrics = await orUndefined(asked, [401, 404])
        return (
          metrics && {
            memoryTotalBytes: metrics.system_memory_total_bytes,
            memoryUsedBytes: metrics.system_memory_used_bytes,
            diskTotalBytes: metrics.system_disk_total_bytes,
            diskUsedBytes: metrics.system_disk_used_bytes,
          }
        )
      },
      async listSets() {
        if (!hasSets) return { synonymSets: [], curationSets: [] }
        const synonyms = await ask('listing synonym sets', client.synonymSets().retrieve(), parser(setsSchema))
        const curations = await ask('listing curation sets', client.curationSets().retrieve(), parser(setsSchema))
        return { synonymSets: synonyms.map(({ name }) => name), curationSets: curations.map(({ name }) => name) }
      },
      missingRights: async (alias, probe) => await probeRights(askStatus, { alias, probe, hasSets }),
      listAliases,
      async putAlias(alias, collection) {
        if (!(await findCollection(collection))) {
          throw changed(`There is no collection ${collection} that the alias ${alias} could point to.`)
        }
        const doing = `pointing the alias ${alias}`
        await ask(doing, client.aliases().upsert(alias, { collection_name: collection }), parser(aliasSchema))
        const asked = ask(`reading the alias ${alias}`, client.aliases(alias).retrieve(), parser(aliasSchema))
        const set = await orUndefined(asked)
        if (set?.collection_name === collection) return
        throw new SyncError('search-failed', `The alias ${alias} does not point to ${collection} after it was set.`, {
          hint: 'Look whether something else sets this alias, and reindex.',
        })
      },
      listCollections: async () => await ask('listing collections', client.collections().retrieve(), parseCollections),
      findCollection,
      async createCollection({ name, schema, metadata, synonymSets = [], curationSets = [] }) {
        if ((await listAliases()).has(name)) {
          throw changed(`An alias is called ${name}: a collection of that name would hide what is behind it.`)
        }
        const links = hasSets ? { synonym_sets: synonymSets, curation_sets: curationSets } : {}
        const body = { ...schema, name, metadata, ...links } as CollectionCreateSchema
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
        if ((await listAliases()).has(to)) throw changed(`An alias is called ${to}: no collection gets this name.`)
        await wire.send({
          method: 'POST',
          path: `/collections?src_name=${encodeURIComponent(from)}&copy_documents=true`,
          body: { bytes: JSON.stringify({ name: to }), contentType: 'application/json' },
          replyTimeoutMs: IMPORT_TIMEOUT_MS,
          doing: `copying the collection ${from}`,
        })
      },
      async setMetadata(name, metadata) {
        if (!(await findCollection(name))) throw changed(`There is no collection ${name} any more.`)
        await ask(`marking the collection ${name}`, client.collections(name).update({ metadata }), parser(z.unknown()))
      },
      async dropCollection(name) {
        for (const [alias, collection] of await listAliases()) {
          // DELETE by an alias's name drops the collection behind it.
          if (alias === name) throw changed(`${name} is an alias, not a collection: it is not dropped.`)
          if (collection === name) throw changed(`The alias ${alias} points to ${name}: it is not dropped.`)
        }
        const doing = `dropping the collection ${name}`
        const dropped = await orUndefined(ask(doing, client.collections(name).delete(), parser(namedSchema)))
        if (dropped && dropped.name !== name) throw changed(`Instead of ${name} the server dropped ${dropped.name}.`)
      },
      async importDocuments(name, body, { lines, action, signal: own }) {
        const doing = `importing into ${name}`
        const { text: answer } = await wire.send({
          method: 'POST',
          path: `${path(name)}/documents/import?action=${action}`,
          body: { bytes: body, contentType: 'text/plain' },
          replyTimeoutMs: IMPORT_TIMEOUT_MS,
          maxBytes: lines * ANSWER_LINE_BYTES + body.length * 4 + 65_536,
          signal: own,
          doing,
          isPrivate: true,
        })
        const refused = readImportAnswer(answer, lines)
        if (refused) return refused
        throw new SyncError(
          'search-failed',
          `The search server did not answer for all ${lines} documents (${doing}).`,
          {
            hint: 'They are sent again. If it stays, look at what lies between the agent and the search server.',
            retryable: true,
          },
        )
      },
      async deleteDocuments(name, ids) {
        const doing = `deleting documents of ${name}`
        const { filters, paths, unnameable } = addressDocuments(ids)
        if (unnameable > 0) {
          throw new SyncError(
            'search-failed',
            `${unnameable} documents have ids that no request can name (${doing}).`,
            {
              hint: 'Reindex in full.',
            },
          )
        }
        let deleted = 0
        for (const filter of filters) {
          const asked = client.collections(name).documents().delete({ filter_by: filter })
          deleted += (await ask(doing, asked, parser(deletedSchema))).num_deleted
        }
        for (const id of paths) {
          const request = { method: 'DELETE', path: `${path(name)}/documents/${id}`, doing, isPrivate: true }
          if (await orAbsentDocument(wire.send(request))) deleted += 1
        }
        return deleted
      },
      async exportDocuments(name, { fields } = {}) {
        const query = fields ? `?include_fields=${encodeURIComponent(fields.join(','))}` : ''
        const doing = `exporting ${name}`
        return await wire.stream({ method: 'GET', path: `${path(name)}/documents/export${query}`, doing })
      },
      async readDocument(name, id) {
        const doing = `reading a document of ${name}`
        const address = addressDocument(id)
        if (!address) return undefined
        if ('path' in address) {
          const request = { method: 'GET', path: `${path(name)}/documents/${address.path}`, doing, isPrivate: true }
          return (await orAbsentDocument(wire.send(request)))?.text
        }
        const query = `filter_by=${encodeURIComponent(address.filter)}`
        const where = `${path(name)}/documents/export?${query}`
        const { text: lines } = await wire.send({ method: 'GET', path: where, doing, isPrivate: true })
        return lines === '' ? undefined : lines.trimEnd()
      },
      async searchAll(name) {
        const search = client.collections(name).documents().search({ q: '*', per_page: 1, include_fields: 'id' })
        return (await ask(`searching ${name}`, search, parser(searchSchema))).found
      },
      async readBelongings(name) {
        if (hasSets) return { synonyms: [], overrides: [] }
        // Not through the client, which complains of these on the console.
        const doing = `reading the synonyms and overrides of ${name}`
        const synonyms = await wire.send({ method: 'GET', path: `${path(name)}/synonyms`, doing })
        const overrides = await wire.send({ method: 'GET', path: `${path(name)}/overrides`, doing })
        return {
          synonyms: parseText(synonyms.text, synonymsSchema, doing).synonyms,
          overrides: parseText(overrides.text, overridesSchema, doing).overrides,
        }
      },
      async writeBelongings(name, { synonyms, overrides }) {
        const doing = `writing the synonyms and overrides of ${name}`
        const put = async (kind: string, { id, ...rest }: Record<string, unknown>): Promise<void> => {
          const where = `${path(name)}/${kind}/${encodeURIComponent(String(id))}`
          const body = { bytes: JSON.stringify(rest), contentType: 'application/json' }
          await wire.send({ method: 'PUT', path: where, body, doing, isPrivate: true })
        }
        for (const synonym of synonyms) await put('synonyms', synonym)
        for (const override of overrides) await put('overrides', override)
      },
      [Symbol.asyncDispose]: async () => await wire[Symbol.asyncDispose](),
    }
  }
}

function readMajor(version: string): number {
  const major = /^v?(\d+)\./.exec(version)?.[1]
  if (major !== undefined) return Number(major)
  throw new SyncError('search-failed', 'The search server does not tell its version as a number.', {
    hint: 'Use a released version of Typesense.',
  })
}

function parser<T>(schema: z.ZodType<T>): (answer: unknown) => T {
  return (answer) => schema.parse(answer)
}

function parseText<T>(text: string, schema: z.ZodType<T>, doing: string): T {
  try {
    return schema.parse(JSON.parse(text))
  } catch (error) {
    throw garbled(doing, error)
  }
}

async function orUndefined<T>(request: Promise<T>, statuses = [404]): Promise<T | undefined> {
  try {
    return await request
  } catch (error) {
    if (error instanceof AnswerError && statuses.includes(error.status)) return undefined
    throw error
  }
}

/** Undefined when the document is not there; a collection that is not there is an error. */
async function orAbsentDocument<T>(request: Promise<T>): Promise<T | undefined> {
  try {
    return await request
  } catch (error) {
    if (error instanceof AnswerError && error.status === 404 && error.said.includes('document')) return undefined
    throw error
  }
}

function changed(message: string): SyncError {
  return new SyncError('search-changed', message, {
    hint: 'Something else works on this search server. Look at its aliases.',
  })
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
