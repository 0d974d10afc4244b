import { SyncError } from '@multiboard-sync/shared/sync-error'
import { addressDocument, addressDocuments } from './address-documents.ts'
import { deletedSchema, searchSchema } from './answer-schemas.ts'
import type { Connected } from './open-client.ts'
import { changed, parser } from './read-answers.ts'
import { readImportAnswer } from './read-import-answer.ts'
import { AnswerError } from './search-error.ts'
import type { Typesense } from './typesense.ts'

/* Documents in and out of a collection. What the server says of them may quote them, so it is never told. */

/** The server answers an import when everything of it is indexed, and what was queued before it. */
const IMPORT_TIMEOUT_MS = 600_000
/** What a line of the answer takes at most, beside the document that older servers echo. */
const ANSWER_LINE_BYTES = 1024
/** And for its head and a message. */
const ANSWER_BYTES = 65_536

type Documents = Pick<
  Typesense,
  'importDocuments' | 'deleteDocuments' | 'exportDocuments' | 'readDocument' | 'searchAll'
>

export function moveDocuments({ client, wire, ask }: Connected): Documents {
  const path = (name: string): string => `/collections/${encodeURIComponent(name)}/documents`

  return {
    async importDocuments(name, body, { lines, action, signal }) {
      const doing = `importing into ${name}`
      const request = {
        method: 'POST',
        path: `${path(name)}/import?action=${action}`,
        body: { bytes: body, contentType: 'text/plain' },
        replyMs: IMPORT_TIMEOUT_MS,
        maxBytes: lines * ANSWER_LINE_BYTES + body.length * 4 + ANSWER_BYTES,
        signal,
        doing,
        isPrivate: true,
      }
      const { text } = await orChanged(name, wire.send(request))
      const refused = readImportAnswer(text, lines)
      if (refused) return refused
      throw new SyncError('search-failed', `The search server did not answer for all ${lines} documents (${doing}).`, {
        hint: 'They are sent again. If it stays, look at what lies between the agent and the search server.',
        retryable: true,
      })
    },
    async deleteDocuments(name, ids) {
      const doing = `deleting documents of ${name}`
      const { filters, paths, unnameable } = addressDocuments(ids)
      if (unnameable > 0) {
        throw new SyncError('search-failed', `${unnameable} documents have ids that no request can name (${doing}).`, {
          hint: 'Reindex in full.',
        })
      }
      let deleted = 0
      for (const filter of filters) {
        const asked = client.collections(name).documents().delete({ filter_by: filter })
        deleted += (await orChanged(name, ask(doing, asked, parser(deletedSchema)))).num_deleted
      }
      for (const id of paths) {
        const request = { method: 'DELETE', path: `${path(name)}/${id}`, doing, isPrivate: true }
        if (await orAbsent(name, wire.send(request))) deleted += 1
      }
      return deleted
    },
    async exportDocuments(name, { fields } = {}) {
      const query = fields ? `?include_fields=${encodeURIComponent(fields.join(','))}` : ''
      const doing = `exporting ${name}`
      return await orChanged(name, wire.stream({ method: 'GET', path: `${path(name)}/export${query}`, doing }))
    },
    async readDocument(name, id) {
      const doing = `reading a document of ${name}`
      const address = addressDocument(id)
      if (!address) return undefined
      if ('path' in address) {
        const request = { method: 'GET', path: `${path(name)}/${address.path}`, doing, isPrivate: true }
        return (await orAbsent(name, wire.send(request)))?.text
      }
      const where = `${path(name)}/export?filter_by=${encodeURIComponent(address.filter)}`
      const { text } = await orChanged(name, wire.send({ method: 'GET', path: where, doing, isPrivate: true }))
      return text === '' ? undefined : text.trimEnd()
    },
    async searchAll(name) {
      const search = client.collections(name).documents().search({ q: '*', per_page: 1, include_fields: 'id' })
      return (await orChanged(name, ask(`searching ${name}`, search, parser(searchSchema)))).found
    },
  }
}

async function orChanged<T>(name: string, request: Promise<T>): Promise<T> {
  try {
    return await request
  } catch (error) {
    if (error instanceof AnswerError && error.status === 404) throw changed(`There is no collection ${name} any more.`)
    throw error
  }
}

/** Undefined when the document is not there; a collection that is not there is an error. */
async function orAbsent<T>(name: string, request: Promise<T>): Promise<T | undefined> {
  try {
    return await request
  } catch (error) {
    if (!(error instanceof AnswerError) || error.status !== 404) throw error
    if (error.said.startsWith('Could not find a document')) return undefined
    throw changed(`There is no collection ${name} any more.`)
  }
}
