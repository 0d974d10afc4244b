import { SyncError } from '@multiboard-sync/shared/sync-error'
import { debugSchema, healthSchema, metricsSchema, setsSchema, statsSchema, statusSchema } from './answer-schemas.ts'
import { carryBelongings } from './carry-belongings.ts'
import { changeCollections } from './change-collections.ts'
import { moveDocuments } from './move-documents.ts'
import { openClient, type Connected } from './open-client.ts'
import { probeRights } from './probe-rights.ts'
import { asking, orUndefined, parser, parseText } from './read-answers.ts'
import { AnswerError } from './search-error.ts'
import { openWire } from './send-requests.ts'
import type { Typesense } from './typesense.ts'

/**
 * Connects, and asks the server for its version. `url` may have a port and a path, which comes before every other.
 * Throws `search-auth`, or `search-unreachable` (retryable). Every call ends with the signal.
 */
export async function openTypesense(options: { url: URL; apiKey: string; signal: AbortSignal }): Promise<Typesense> {
  const wire = openWire(options)
  try {
    const client = await openClient(wire)
    const ask = asking(options.signal)
    const { version: text } = await ask('asking for its version', client.debug.retrieve(), parser(debugSchema))
    const major = readMajor(text)
    const connected = { client, wire, ask, hasSets: major >= 30, signal: options.signal }
    return {
      version: { major, text },
      hasSets: connected.hasSets,
      ...askServer(connected),
      ...changeCollections(connected),
      ...moveDocuments(connected),
      ...carryBelongings(connected),
      [Symbol.asyncDispose]: async () => await wire[Symbol.asyncDispose](),
    }
  } catch (error) {
    await wire[Symbol.asyncDispose]()
    throw error
  }
}

type Server = Pick<Typesense, 'health' | 'queuedWrites' | 'capacity' | 'missingRights' | 'listSets'>

function askServer({ client, wire, ask, hasSets }: Connected): Server {
  async function askStatus(method: string, path: string, text?: string): Promise<number> {
    const body = text === undefined ? {} : { body: { bytes: text, contentType: 'application/json' } }
    try {
      const doing = 'probing the rights of the key'
      return (await wire.send({ method, path, ...body, doing, isPrivate: true })).status
    } catch (error) {
      if (error instanceof AnswerError && !error.retryable) return error.status
      throw error
    }
  }

  return {
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
    missingRights: async (alias, probe) => await probeRights(askStatus, { alias, probe, hasSets }),
    async listSets() {
      if (!hasSets) return { synonymSets: [], curationSets: [] }
      const synonyms = await ask('listing synonym sets', client.synonymSets().retrieve(), parser(setsSchema))
      const curations = await ask('listing curation sets', client.curationSets().retrieve(), parser(setsSchema))
      return { synonymSets: synonyms.map(({ name }) => name), curationSets: curations.map(({ name }) => name) }
    },
  }
}

function readMajor(version: string): number {
  const major = /^v?(\d+)\./.exec(version)?.[1]
  if (major !== undefined) return Number(major)
  throw new SyncError('search-failed', 'The search server does not tell its version as a number.', {
    hint: 'Use a released version of Typesense.',
  })
}
