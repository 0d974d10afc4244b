import type { StreamTimes } from './events/stream-events.ts'
import type { OrderSigner } from './orders/order-signer.ts'
import type { Database } from './store/open-database.ts'
import type { Log } from './web/log.ts'

export interface LeaseTimes {
  leaseMs: number
  /** After the lease's end, until the job reads as lost. */
  graceMs: number
}

/** What every part of the control plane is given. Nothing in here changes between requests. */
export interface ControlPlane {
  database: Database
  signer: OrderSigner
  /** Of PUBLIC_URL: the issuer of orders, the audience of agents' requests. */
  origin: string
  adminToken: string
  lease: LeaseTimes
  stream: StreamTimes
  /** Aborts when the process stops: streams end, so that clients reconnect elsewhere. */
  stopping: AbortSignal
  log: Log
}
