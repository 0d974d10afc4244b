import { waysOf } from './decide-field.ts'
import type { FoundColumn, FoundType } from './found-type.ts'
import { findRule } from './type-rules.ts'
import { yamlComment, yamlText } from './yaml-text.ts'

export interface InferredColumn extends FoundColumn {
  notNull: boolean
}

export interface InferredFields {
  /** YAML, one field a line. */
  lines: string[]
  /** Columns that are no fields, and why. */
  leftOut: string[]
  /** A field that may order documents by default. */
  sorting: string | undefined
  hasObjects: boolean
}

interface Inferred {
  name: string
  column: string
  type: string
  as?: string | undefined
  optional: boolean
  facet: boolean
  comment: string
}

/** What the schema of mappings takes. */
const MAX_FIELDS = 500

export function canBeId({ type }: FoundColumn): boolean {
  return type.element === undefined && findRule(type).id !== undefined
}

/** A field for every column that can be one, but for the document's id. */
export function inferFields(columns: InferredColumn[], id: string | undefined): InferredFields {
  const leftOut: string[] = []
  const fields: Inferred[] = []
  const taken = new Set(['id'])
  for (const column of columns) {
    if (column.name === id) continue
    const rule = findRule(column.type.element ?? column.type)
    const way = waysOf(rule, column.type).find(({ way: { approximate } }) => !approximate)
    if (way === undefined) leftOut.push(yamlComment(`${column.name} (${column.type.title}): ${rule.instead}.`))
    else if (fields.length === MAX_FIELDS)
      leftOut.push(yamlComment(`${column.name}: there are ${MAX_FIELDS} fields already.`))
    else {
      const name = fieldName(column.name, taken)
      taken.add(name)
      fields.push({
        name,
        column: column.name,
        type: way.type,
        as: way.way.as,
        optional: !column.notNull,
        facet: (column.type.element ?? column.type).kind === 'e',
        comment: commentOf(column.type, way.type, way.way.as),
      })
    }
  }
  return {
    lines: fields.map(lineOf),
    leftOut,
    sorting: chooseSorting(fields),
    hasObjects: fields.some(({ type }) => type.startsWith('object')),
  }
}

function lineOf(field: Inferred): string {
  const parts = [
    `name: ${yamlText(field.name)}`,
    ...(field.column === field.name ? [] : [`column: ${yamlText(field.column)}`]),
    `type: ${field.type.endsWith(']') ? JSON.stringify(field.type) : field.type}`,
    ...(field.as ? [`as: ${field.as}`] : []),
    ...(field.optional ? ['optional: true'] : []),
    ...(field.facet ? ['facet: true'] : []),
  ]
  return `- { ${parts.join(', ')} }${field.comment === '' ? '' : ` # ${yamlComment(field.comment)}`}`
}

function commentOf(type: FoundType, written: string, as: string | undefined): string {
  const { title } = type
  const rule = findRule(type.element ?? type)
  if (as === 'epoch_s') return `${title}: whole seconds since 1970; or as: epoch_ms, or { type: string, as: iso }`
  if (rule.types.includes('numeric')) {
    if (written.startsWith('float')) return `${title}: exact as stored; the index compares it with some 7 digits`
    if (written.startsWith('int')) return title
    return `${title}: exact as text; for ranges and sorting { type: float, approximate: true }`
  }
  if (as === 'text') return `${title}: its text`
  if (written === 'object') return `${title}: or "object[]" where it holds arrays of objects`
  return ''
}

/** Letters, digits, underscores and hyphens of the column's name; never one that was given already. */
function fieldName(column: string, taken: ReadonlySet<string>): string {
  const plain = column.normalize('NFKD').replaceAll(/[^\w-]+/g, '_')
  const base = /^[A-Za-z_]/.test(plain) ? plain : `_${plain}`
  for (let number = 1; ; number += 1) {
    const name = number === 1 ? base : `${base}_${number}`
    if (!taken.has(name)) return name
  }
}

/** What people mean by the order of things, the best first. */
const SORTING = [
  /popular/i,
  /^(rank|score|rating)/i,
  /(downloads|views|likes|sales|sold)/i,
  /^updated/i,
  /^created/i,
  /^published/i,
]

function chooseSorting(fields: Inferred[]): string | undefined {
  const numbers = fields.filter(({ type, optional }) => !optional && ['int32', 'int64', 'float'].includes(type))
  for (const pattern of SORTING) {
    const found = numbers.find(({ name }) => pattern.test(name))
    if (found) return found.name
  }
  return undefined
}
