import type { Mapping } from '@multiboard-sync/shared/mapping'
import type { TableName } from '@multiboard-sync/shared/table-pattern'
import type { CollectionSchema } from '../typesense/typesense.ts'

/** A mapping that has met the catalogue: every type is known to be exact, and the SQL is written. */
export interface CompiledMapping {
  alias: string
  mapping: Mapping
  /** Hex, of the mapping, the types found and the collection's schema: the same as long as the documents are. */
  sha256: string
  schema: CollectionSchema
  /**
   * A select of two columns, `id` (text) and `document` (text: one JSON object without line breaks, the id first, NULLs left
   * out). Without parameters, names fully qualified, fit to stand in brackets.
   */
  documentsSql: string
  /** The tables that the documents are made of: `from` and what it reads as a view, or depends_on. */
  tables: TableName[]
  /** Where every name of `tables` can be replaced by one in another schema: the same select over the previous tables. */
  documentsSqlOver: ((schemas: ReadonlyMap<string, string>, tables: TableName[]) => string) | undefined
}
