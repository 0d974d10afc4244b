import type { StreamTimes } from './events/stream-events.ts'
import type { OrderSigner } from './orders/order-signer.ts'
import type { Issuer } from './people/issuer.ts'
import type { Database } from './store/open-database.ts'
import type { RateLimits } from './web/limit-rate.ts'
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
  /** Opens every door, for a first start. */
  adminToken?: string | undefined
  /** Whose JWTs prove a person. */
  issuers?: readonly Issuer[] | undefined
  lease: LeaseTimes
  stream: StreamTimes
  limits: RateLimits
  /** The request header with the client's address, where a proxy of ours sets it. */
  addressHeader: string | undefined
  /** Aborts when the process stops: streams end, so that clients reconnect elsewhere. */
  stopping: AbortSignal
  log: Log
}
