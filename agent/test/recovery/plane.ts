import { execFile } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { isFinished } from '@multiboard-sync/shared/job-state'
import { jobViewSchema, type JobView } from '@multiboard-sync/shared/protocol'
import { exportJWK, generateKeyPair, type JWK } from 'jose'
import { startControlPlane } from '../../../control-plane/src/start-control-plane.ts'
import { until } from '../../../shared/testing/postgres/deadline.ts'

/** A control plane that may be lost, and another one in its place: under the same address, with what was kept of the first. */
export interface Plane extends AsyncDisposable {
  url: string
  /** The token that the process prints at its first start, or the one that was handed in. */
  token: string
  call(method: string, path: string, body?: unknown): Promise<{ status: number; body: Record<string, unknown> }>
  /** A code for an agent, as an admin is shown it. */
  invite(agent: string): Promise<string>
  /** Asks for a job, which must be taken; waits for an agent that may do it. */
  ask(body: Record<string, unknown>): Promise<JobView>
  /** Waits for the job's end, whatever it is. */
  ended(id: string): Promise<JobView>
  job(id: string): Promise<JobView>
  /** Ids of the archives that it knows. */
  archives(): Promise<string[]>
}

const CALL_TIMEOUT_MS = 20_000
const JOB_TIMEOUT_MS = 90_000

export interface SigningKey {
  privateJwk: JWK
  publicJwk: JWK
}

export async function newSigningKey(): Promise<SigningKey> {
  const { privateKey, publicKey } = await generateKeyPair('EdDSA', { crv: 'Ed25519', extractable: true })
  return { privateJwk: await exportJWK(privateKey), publicJwk: await exportJWK(publicKey) }
}

/** `token`: of a person that the database knows; absent, the one that is made at the first start. */
export async function startPlane(options: {
  databaseUrl: string
  key: SigningKey
  port: number
  token?: string
}): Promise<Plane> {
  const running = await startControlPlane({
    databaseUrl: options.databaseUrl,
    signingKey: options.key.privateJwk,
    publicUrl: `http://127.0.0.1:${options.port}`,
    lease: { leaseMs: 90_000, graceMs: 30_000 },
    host: '127.0.0.1',
    port: options.port,
    log: () => undefined,
  })
  const token = running.firstToken ?? options.token ?? ''
  const call: Plane['call'] = async (method, path, body) => {
    const response = await fetch(`${running.url}${path}`, {
      method,
      headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json' },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      signal: AbortSignal.timeout(CALL_TIMEOUT_MS),
    })
    return { status: response.status, body: (await response.json()) as Record<string, unknown> }
  }
  const job: Plane['job'] = async (id) => jobViewSchema.parse((await call('GET', `/v1/jobs/${id}`)).body)
  return {
    url: running.url,
    token,
    call,
    invite: async (agent) => {
      const { status, body } = await call('POST', '/v1/enrollments', { agent })
      if (status !== 201) throw new Error(`no code was made: ${JSON.stringify(body)}`)
      return String(body['code'])
    },
    ask: async (body) => {
      const asked = await until('an agent that may do the job', JOB_TIMEOUT_MS, async () => {
        const answer = await call('POST', '/v1/jobs', body)
        return answer.body['code'] === 'agent-unknown' ? undefined : answer
      })
      if (asked.status !== 201) throw new Error(`the job was not taken: ${JSON.stringify(asked.body)}`)
      return jobViewSchema.parse(asked.body)
    },
    ended: async (id) =>
      await until(`the end of ${id}`, JOB_TIMEOUT_MS, async () => {
        const view = await job(id)
        return isFinished(view.state) ? view : undefined
      }),
    job,
    archives: async () => {
      const { body } = await call('GET', '/v1/archives?limit=100')
      return (body['archives'] as { id: string }[]).map(({ id }) => id).toSorted((a, b) => (a < b ? -1 : 1))
    },
    [Symbol.asyncDispose]: async () => await running.close(),
  }
}

const MAKE_KEYS = fileURLToPath(new URL('../../../scripts/make-keys.ts', import.meta.url))

/** `pnpm keys …`, as the docs say it; answers what it prints. */
export async function keysCommand(...args: string[]): Promise<string> {
  const { stdout } = await promisify(execFile)(process.execPath, [MAKE_KEYS, ...args], { timeout: CALL_TIMEOUT_MS })
  return stdout
}
