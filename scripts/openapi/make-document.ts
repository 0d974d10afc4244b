import { createApp } from '../../control-plane/src/create-app.ts'
import { documentApi } from '../../control-plane/src/web/api-document.ts'

/** The document's text, from the routes. */
export async function makeDocument(): Promise<string> {
  return `${JSON.stringify(await documentApi(makeApp()), null, 2)}\n`
}

/** All routes, to be looked at and not called: nothing is asked of a database or a key. */
export function makeApp() {
  const unused = () => {
    throw new Error('describing a route does not call it')
  }
  return createApp({
    database: { query: unused, transaction: unused, [Symbol.asyncDispose]: unused },
    signer: { kid: 'none', sign: unused, signOwn: unused, verifyOwn: unused },
    origin: 'http://localhost',
    adminToken: '',
    issuers: [],
    lease: { leaseMs: 1, graceMs: 1 },
    stream: { pollMs: 1, heartbeatMs: 1, rotateMs: 1 },
    limits: { person: 1, agent: 1, stranger: 1 },
    addressHeader: undefined,
    stopping: new AbortController().signal,
    log: unused,
  })
}
