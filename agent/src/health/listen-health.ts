import { once } from 'node:events'
import { createServer, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { SyncError } from '@multiboard-sync/shared/sync-error'
import { log } from '../log.ts'
import type { AgentStatus } from './agent-status.ts'
import { isReady, judgeHeartbeat } from './heartbeat.ts'

/*
 * GET /healthz, /readyz and /metrics of the daemon, for who watches it on its own machine. It tells names, numbers and codes,
 * changes nothing, asks nobody for a password, and is off unless HEALTH_LISTEN names an address.
 */

/** Who watches is one or two; strangers must not take the memory of a job. */
const CONNECTIONS_MAX = 16
const REQUEST_TIMEOUT_MS = 5_000

export interface HealthSources {
  status: AgentStatus
  /** Prometheus' text format. */
  metrics: { read(): Promise<string> }
}

/** Throws `config-invalid` when the address cannot be had. */
export async function listenHealth(
  { host, port }: { host: string; port: number },
  sources: HealthSources,
): Promise<{ url: string } & AsyncDisposable> {
  const server = createServer({ requestTimeout: REQUEST_TIMEOUT_MS, headersTimeout: REQUEST_TIMEOUT_MS })
  server.maxConnections = CONNECTIONS_MAX
  server.on('request', ({ method, url }, response) => {
    // It ends every answer itself.
    void answer(method ?? '', (url ?? '').split('?')[0] ?? '', response, sources)
  })
  server.listen(port, host)
  await once(server, 'listening').catch((cause: unknown) => {
    const code = cause instanceof Error && 'code' in cause ? ` (${String(cause.code)})` : ''
    throw new SyncError('config-invalid', `The address of HEALTH_LISTEN cannot be listened on${code}.`, {
      hint: 'Choose another port, or stop what uses it.',
      cause,
    })
  })
  const { port: taken } = server.address() as AddressInfo
  return {
    url: `http://${host.includes(':') ? `[${host}]` : host}:${taken}`,
    [Symbol.asyncDispose]: async () => {
      const closed = once(server, 'close')
      server.close()
      server.closeAllConnections()
      await closed
    },
  }
}

async function answer(method: string, path: string, response: ServerResponse, sources: HealthSources): Promise<void> {
  const send = (status: number, type: string, body: string): void => {
    response.writeHead(status, {
      'content-type': type,
      'cache-control': 'no-store',
      'content-length': Buffer.byteLength(body),
    })
    response.end(method === 'HEAD' ? undefined : body)
  }
  const json = (status: number, body: object): void => send(status, 'application/json', `${JSON.stringify(body)}\n`)
  try {
    if (method !== 'GET' && method !== 'HEAD') return json(405, { error: 'method-not-allowed' })
    const heartbeat = sources.status.read()
    switch (path) {
      case '/healthz': {
        const { isWell, remarks } = judgeHeartbeat(heartbeat, new Date())
        return json(isWell ? 200 : 503, { ok: isWell, remarks, heartbeat })
      }
      case '/readyz': {
        const ready = isReady(heartbeat)
        return json(ready ? 200 : 503, {
          ok: ready,
          ...(ready ? {} : { failed_with: heartbeat.failed_with }),
          heartbeat,
        })
      }
      case '/metrics':
        return send(200, 'text/plain; version=0.0.4; charset=utf-8', await sources.metrics.read())
      default:
        return json(404, { error: 'not-found', paths: ['/healthz', '/readyz', '/metrics'] })
    }
  } catch (thrown) {
    log('error', 'The listener for health failed.', {
      path,
      cause: thrown instanceof Error ? thrown.name : typeof thrown,
    })
    if (response.headersSent) response.destroy()
    else json(500, { error: 'internal' })
  }
}
