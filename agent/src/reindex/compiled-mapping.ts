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
  /**
   * The same select over previous tables that lie under their own names in other schemas: `schemas` from the user's schemas to
   * those, `tables` those that were replaced (partitions suffice). Undefined where not every name can be replaced, by the
   * mapping (views) or for these tables (only some partitions of one were replaced).
   */
  documentsSqlOver: ((schemas: ReadonlyMap<string, string>, tables: TableName[]) => string | undefined) | undefined
  /** What the rows are, for looking at them; made by compileMapping() for findUnfitRows(). */
  rows: {
    /** What stands after `from`; the rows are `r`. */
    source: string
    /** The id's text, in SQL. */
    id: string
    /** A unique index sees to it. */
    uniqueId: boolean
    /** Conditions of rows that cannot be documents, in SQL, and the ends of sentences that begin with "3 rows". */
    checks: { sql: string; says: string }[]
    /** Fields that are objects, as jsonb in SQL. */
    objects?: { field: string; jsonb: string }[]
  }
}
