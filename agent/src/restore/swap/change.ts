import type { Receipt } from '@multiboard-sync/shared/protocol'
import type { TableName } from '@multiboard-sync/shared/table-pattern'
import type { Fingerprint } from '../../postgres/fingerprint.ts'
import type { Aside } from '../stage/aside.ts'

/** What takes the place of the live tables, and for whom. */
export interface Exchange {
  job: string
  epoch: number
  fence: number | undefined
  /** The tables whose rows are replaced (ordinary ones, leaves), under their live names. */
  tables: TableName[]
  /** Where the relations wait that become the live ones. */
  incoming: Aside
  /** sha256 of the fingerprint that the live definitions must still have (`keys: 'unvalidated'`); absent: any. */
  fingerprint: string | undefined
  /** readSnapshotMark() after the last row came into `incoming`. */
  snapshotMark: string
  /** The archive whose rows `incoming` holds. */
  archive: string
  safetyBackup: string | undefined
  rows: number
  /** The job that this one takes back. */
  undoes?: string
  /** readWrites() of the live tables when the rows of `incoming` were read; absent where it does not matter. */
  writesBefore: number | undefined
  /** Sequences that no table owns: raised to these values where they are behind, never lowered. */
  raise: SequenceValue[]
  lockAttempts: number
}

export interface SequenceValue {
  sequence: TableName
  /** bigint as text. */
  value: string
  isCalled: boolean
}

export interface Exchanged {
  receipt: Receipt
  /** Where the replaced relations are kept. */
  previous: Aside
  /** Rows written to the replaced tables since `writesBefore`. */
  lateWrites: number
  /** Of the live definitions, before and after (`keys: 'unvalidated'`). */
  fingerprint: Fingerprint
}
