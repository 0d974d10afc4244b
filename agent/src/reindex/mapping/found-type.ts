/** A type as the catalogue has it: never a domain, which is always seen through to its base. */
export interface FoundType {
  /** pg_type's name and the schema it is in: `int4` of `pg_catalog`. */
  name: string
  schema: string
  /** As PostgreSQL writes it: `numeric(12,2)`, `public."Color"`. */
  title: string
  /** pg_type.typtype: base, enum, composite, range, multirange, pseudo. */
  kind: 'b' | 'e' | 'c' | 'r' | 'm' | 'p'
  /** Of numerics and strings; -1 without. */
  typmod: number
  /** Of an array: the type of its elements, with the array's modifier. */
  element: FoundType | undefined
}

/** A column of the rows that documents are made of. */
export interface FoundColumn {
  name: string
  type: FoundType
}

const TYPMOD_HEADER = 4

/** Digits of a numeric; undefined where it was declared without. A negative scale stands for zeros before the point. */
export function numericDigits({ typmod }: FoundType): { precision: number; scale: number } | undefined {
  if (typmod < TYPMOD_HEADER) return undefined
  const packed = typmod - TYPMOD_HEADER
  // The scale has 11 bits with a sign since PostgreSQL 15; before it was never negative and never that large.
  return { precision: (packed >> 16) & 0xffff, scale: ((packed & 0x7ff) ^ 1024) - 1024 }
}
