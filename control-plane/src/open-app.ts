import { createApp } from './create-app.ts'
import type { ControlPlane } from './control-plane.ts'
import type { ControlPlaneConfig } from './env.ts'
import { makeOrderSigner } from './orders/order-signer.ts'
import { defaultRateLimits } from './web/limit-rate.ts'

/** What the configuration does not say: it depends on where the app runs. */
type Place = Pick<ControlPlane, 'database' | 'origin' | 'stream' | 'stopping' | 'log'>

/** The app of a configuration, the same for a process, for a function, and for tests that make one for each request. */
export async function openApp(config: Omit<ControlPlaneConfig, 'databaseUrl' | 'host' | 'port'>, place: Place) {
  const { addressHeader, adminToken, issuers, lease, limits = defaultRateLimits, signingKey } = config
  const signer = await makeOrderSigner(signingKey)
  const control = { ...place, signer, addressHeader, adminToken, issuers, lease, limits }
  return { app: createApp(control), kid: signer.kid }
}
