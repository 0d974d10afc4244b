import type { CryptoKey } from 'jose'
import type { Phase } from '@multiboard-sync/shared/job'

/** Who calls the control plane, and where it is: enough to sign a request. */
export interface Caller {
  /** CONTROL_PLANE_URL; may have a path. */
  url: string
  agent: string
  key: CryptoKey
  version: string
}

/** What the lease's thread is started with. */
export interface LeaseWorkerInput {
  caller: Caller
  job: string
  epoch: number
  /** Of LeaseMemory. */
  buffer: SharedArrayBuffer
  phases: readonly Phase[]
  /** Which proxy to take for what; undefined: none. */
  proxyEnv: NodeJS.ProcessEnv | undefined
}

/** What it tells the main thread; the deadline stands in the shared memory already. */
export type LeaseNews =
  /** `phase` is the one that the request told. */
  | { type: 'renewed'; cancel: boolean; phase: Phase }
  /** The control plane said something else: the main thread is to ask for itself. */
  | { type: 'refused' }
