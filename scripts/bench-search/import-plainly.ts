import { createReadStream } from 'node:fs'
import { stat } from 'node:fs/promises'
import { request } from 'node:http'
import { request as requestTls } from 'node:https'
import { pipeline } from 'node:stream/promises'
import { setTimeout as sleep } from 'node:timers/promises'

import { askSearch, type SearchServer } from '../search-server.ts'

/*
 * What importing a ready-made file takes when nothing is proven, as `curl -T documents.jsonl` does it: one request, and then
 * waiting until the server has indexed everything.
 */

const ASK_AGAIN_MS = 100

/** Seconds from the first byte sent until the collection holds all documents. The collection is dropped again. */
export async function importPlainly(
  server: SearchServer,
  schema: object,
  file: string,
  documents: number,
): Promise<number> {
  const name = `multiboard_sync_bench_plain_${Date.now()}`
  await askSearch(server, 'POST', '/collections', { body: { ...schema, name } })
  try {
    const startedMs = performance.now()
    const answer = await sendFile(server, `/collections/${name}/documents/import?action=create`, file)
    if (answer.includes('"success":false')) throw new Error('The server refused documents of the file.')
    while ((await count(server, name)) < documents) await sleep(ASK_AGAIN_MS)
    return (performance.now() - startedMs) / 1000
  } finally {
    await askSearch(server, 'DELETE', `/collections/${name}`)
  }
}

async function count(server: SearchServer, name: string): Promise<number> {
  const { num_documents } = (await askSearch(server, 'GET', `/collections/${name}`)) as { num_documents: number }
  return num_documents
}

async function sendFile({ url, apiKey }: SearchServer, path: string, file: string): Promise<string> {
  const { size } = await stat(file)
  const open = url.startsWith('https:') ? requestTls : request
  const headers = { 'x-typesense-api-key': apiKey, 'content-type': 'text/plain', 'content-length': size }
  const outgoing = open(`${url}${path}`, { method: 'POST', headers })
  const answered = new Promise<string>((resolve, reject) => {
    outgoing.once('error', reject)
    outgoing.once('response', (response) => {
      response.setEncoding('utf8')
      let text = ''
      response.on('data', (chunk: string) => (text += chunk))
      response.once('error', reject)
      response.once('end', () => {
        if (response.statusCode === 200) resolve(text)
        else reject(new Error(`The import was answered with ${response.statusCode}: ${text.slice(0, 200)}`))
      })
    })
  })
  await Promise.all([pipeline(createReadStream(file, { highWaterMark: 1024 * 1024 }), outgoing), answered])
  return await answered
}
