import type { Client, ConfigurationOptions } from 'typesense'
import type { Ask } from './read-answers.ts'
import type { Wire } from './send-requests.ts'

/** What the parts of Typesense are made of. */
export interface Connected {
  client: Client
  wire: Wire
  ask: Ask
  hasSets: boolean
  signal: AbortSignal
}

/** Stands for the search server inside the client, which so knows neither its address nor the key. */
const ORIGIN = 'http://search-server'

type Adapter = Extract<NonNullable<ConfigurationOptions['axiosAdapter']>, (...args: never[]) => unknown>

/**
 * The `typesense` client over our own wire: its requests use our connections, follow no redirect, have bounded answers and
 * our errors, and end with our signal. It never tries again on its own, and logs nothing.
 */
export async function openClient(wire: Wire): Promise<Client> {
  // It takes 30 MB of memory, which an agent without a search server does not spend.
  const { Client } = await import('typesense')
  const axiosAdapter: Adapter = async (config) => {
    const data: unknown = config.data
    const method = (config.method ?? 'get').toUpperCase()
    const path = (config.url ?? '').slice(ORIGIN.length)
    const answer = await wire.send({
      method,
      path: `${path}${writeQuery(config.params)}`,
      ...(typeof data === 'string' ? { body: { bytes: data, contentType: 'application/json' } } : {}),
      // Paths hold names only: documents are addressed in queries here, or past this client.
      doing: `${method} ${decodeURIComponent(path)}`,
      isPrivate: path.includes('/documents'),
    })
    const headers = { 'content-type': answer.contentType }
    return { data: answer.text, status: answer.status, statusText: '', headers, config }
  }
  return new Client({
    nodes: [{ url: ORIGIN }],
    apiKey: '',
    axiosAdapter,
    numRetries: 0,
    logLevel: 'silent',
  })
}

function writeQuery(params: unknown): string {
  if (typeof params !== 'object' || params === null) return ''
  // Not URLSearchParams, which writes a space as +.
  const query = Object.entries(params).map(([name, value]) => `${name}=${encodeURIComponent(String(value))}`)
  return query.length === 0 ? '' : `?${query.join('&')}`
}
