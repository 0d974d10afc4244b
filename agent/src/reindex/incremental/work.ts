import type { TableName } from '@multiboard-sync/shared/table-pattern'
import type { Collection } from '../../typesense/typesense.ts'
import type { Patience } from '../be-patient.ts'
import type { Generation } from '../generation.ts'
import type { OpenDocuments } from '../open-documents.ts'
import type { ReindexRun } from '../reindex-run.ts'

/** The tables that a swap has replaced and kept, under their live names. */
export interface PreviousTables {
  /** From the live schema to the one that holds the previous tables. */
  schemas: ReadonlyMap<string, string>
  tables: TableName[]
}

/** The live collection, read when nothing was queued any more, and what we wrote down of it. */
export interface Base {
  collection: Collection
  generation: Generation
}

/** One incremental reindex: its rows in their snapshot, and the live collection that is made equal to them. */
export interface Work extends Base {
  run: ReindexRun
  patience: Patience
  open: OpenDocuments
}

/** Why only a full reindex can help. */
export interface FullNeeded {
  full: string
}
