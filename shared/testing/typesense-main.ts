import { once } from 'node:events'
import { parseArgs } from 'node:util'
import { startTypesense } from './typesense.ts'

/*
 * The search server as a process of its own:
 *   node shared/testing/typesense-main.ts [--port N] [--api-key K] [--version 30.0] [--keep-documents=false]
 * Prints `{"url":"http://127.0.0.1:<port>"}` when it listens; SIGINT or SIGTERM ends it with exit code 0.
 */

const { values } = parseArgs({
  options: {
    port: { type: 'string' },
    'api-key': { type: 'string' },
    version: { type: 'string' },
    'keep-documents': { type: 'string' },
  },
})

const asked = Promise.race([once(process, 'SIGINT'), once(process, 'SIGTERM')])
await using typesense = await startTypesense({
  ...(values.port !== undefined && { port: Number(values.port) }),
  ...(values['api-key'] !== undefined && { apiKey: values['api-key'] }),
  ...(values.version !== undefined && { version: values.version }),
  keepDocuments: values['keep-documents'] !== 'false',
})
console.log(JSON.stringify({ url: typesense.url }))
await asked
