import { randomUUID } from 'node:crypto'
import { SyncError } from '@multiboard-sync/shared/sync-error'
import { runAgent } from './agent.ts'
import type { AgentEnv } from './env.ts'
import { createStatus, type AgentStatus } from './health/agent-status.ts'
import { watchTogether } from './health/agent-watch.ts'
import { listenHealth } from './health/listen-health.ts'
import { startHeartbeat } from './health/write-heartbeat.ts'
import { log } from './log.ts'
import type { AgentOptions, OpenedContext } from './open-context.ts'
import { connectControlPlane } from './poll/control-plane-client.ts'
import { openSettings } from './reload-settings.ts'

/**
 * `agent run`: polls until `draining` aborts, gives signs of life while it does, and listens for who asks for its health where
 * HEALTH_LISTEN says so. Throws `config-invalid` for an address that it cannot listen on.
 */
export async function runDaemon(
  env: AgentEnv,
  opened: OpenedContext,
  { draining, stopping }: Pick<AgentOptions, 'draining' | 'stopping'>,
): Promise<void> {
  if (env.CONTROL_PLANE_URL === undefined) {
    throw new SyncError('config-invalid', 'CONTROL_PLANE_URL is not set.', {
      hint: 'The daemon needs a control plane to poll.',
    })
  }
  const { context, key } = opened
  const settings = openSettings(env, opened)
  const controlPlane = connectControlPlane({
    url: env.CONTROL_PLANE_URL,
    agent: context.agent,
    key: async () => (await settings.current()).key.privateKey,
    version: context.version,
  })
  const bootId = randomUUID()
  const status = createStatus({ agent: context.agent, version: context.version, bootId })
  await using heartbeat = await startHeartbeat(context.stateDir, status)
  await using health = await openHealth(env, opened, status)
  log('info', 'The agent polls.', { agent: context.agent, version: context.version, kid: key.kid, ...health.told })
  process.on('SIGHUP', () => settings.reload())
  await runAgent({
    settings,
    controlPlane,
    issuer: new URL(env.CONTROL_PLANE_URL).origin,
    draining,
    stopping,
    bootId,
    watch: watchTogether([status, ...health.watches, heartbeat]),
  })
}

/** The metrics are loaded where somebody can ask for them: they cost memory that a job could need. */
async function openHealth({ HEALTH_LISTEN: listen }: AgentEnv, { context }: OpenedContext, status: AgentStatus) {
  if (!listen) return { watches: [], told: {}, [Symbol.asyncDispose]: async () => undefined }
  const { openMetrics } = await import('./health/metrics.ts')
  const metrics = await openMetrics(context, status)
  const listener = await listenHealth(listen, { status, metrics })
  return {
    watches: [metrics.watch],
    told: { health: listener.url },
    [Symbol.asyncDispose]: async () => await listener[Symbol.asyncDispose](),
  }
}
