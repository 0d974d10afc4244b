import { once } from 'node:events'
import { parseArgs } from 'node:util'
import { startObjectStore } from './object-store.ts'

/*
 * The object store as a process of its own:
 *   node shared/testing/object-store-main.ts [--port N] [--data-dir DIR] [--access-key K] [--secret-key S] [--bucket B]…
 * Prints `READY <endpoint>` when it listens; SIGINT or SIGTERM ends it with exit code 0.
 */

const { values } = parseArgs({
  options: {
    port: { type: 'string' },
    'data-dir': { type: 'string' },
    'access-key': { type: 'string' },
    'secret-key': { type: 'string' },
    bucket: { type: 'string', multiple: true },
  },
})

const asked = Promise.race([once(process, 'SIGINT'), once(process, 'SIGTERM')])
await using store = await startObjectStore({
  ...(values.port !== undefined && { port: Number(values.port) }),
  ...(values['data-dir'] !== undefined && { dataDir: values['data-dir'] }),
  ...(values['access-key'] !== undefined && { accessKeyId: values['access-key'] }),
  ...(values['secret-key'] !== undefined && { secretAccessKey: values['secret-key'] }),
})
for (const bucket of values.bucket ?? []) await store.createBucket(bucket)
console.log(`READY ${store.endpoint}`)
await asked
