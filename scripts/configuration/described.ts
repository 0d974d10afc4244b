/** What a JSON schema says of one variable or key, with what our own `.meta()` adds. */
export interface Described {
  type?: string
  description?: string
  default?: unknown
  enum?: unknown[]
  const?: unknown
  format?: string
  minimum?: number
  maximum?: number
  exclusiveMinimum?: number
  anyOf?: Described[]
  items?: Described | false
  properties?: Record<string, Described>
  additionalProperties?: Described | false
  required?: string[]
  prefixItems?: Described[]
  /** Ours. */
  secret?: true
  unit?: string
  example?: string | Record<string, string>
  form?: string
  fallback?: string
}

/** As people write it: before defaults and transformations. */
export function describeSchema(schema: Schema): Described {
  return schema.toJSONSchema({ io: 'input', unrepresentable: 'any' }) as Described
}

/** Of zod, which is no package of the scripts' own. */
interface Schema {
  toJSONSchema(params: { io: 'input'; unrepresentable: 'any' }): object
}

/** Numbers beyond this are no limit that anybody means. */
const NO_LIMIT = Number.MAX_SAFE_INTEGER

/** `whole number, 1 to 32`. */
export function formOf(described: Described): string {
  const { type, const: only, enum: choices, anyOf, items, prefixItems, format, form } = described
  if (form !== undefined) return form
  if (only !== undefined) return code(only)
  if (choices) return choices.map(code).join(', ')
  if (anyOf) return [...new Set(anyOf.filter((one) => one.const !== '').map(formOf))].join(' or ')
  if (prefixItems) return `list of ${prefixItems.length}`
  if (type === 'array') return items && items.type !== 'object' ? `list of: ${formOf(items)}` : 'list'
  if (type === 'integer' || type === 'number')
    return `${type === 'integer' ? 'whole number' : 'number'}${rangeOf(described)}`
  if (type === 'object') return 'keys'
  if (type === 'boolean') return '`true` or `false`'
  return format === 'uri' ? 'URL' : 'text'
}

function rangeOf({ minimum, exclusiveMinimum, maximum }: Described): string {
  const least = minimum ?? (exclusiveMinimum === undefined ? undefined : exclusiveMinimum + 1)
  const most = maximum === NO_LIMIT ? undefined : maximum
  if (least !== undefined && most !== undefined) return `, ${least} to ${most}`
  return least === undefined ? '' : `, ${least} or more`
}

/** What counts when it is left out. */
export function defaultOf(described: Described, isRequired: boolean): string {
  const { default: value, fallback } = described
  if (fallback !== undefined) return code(fallback)
  if (isRequired) return '**needed**'
  if (value === undefined || value === '') return 'none'
  return described.type === 'object' ? 'as below' : code(value)
}

function code(value: unknown): string {
  return `\`${typeof value === 'string' ? value : JSON.stringify(value)}\``
}

export function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]): string =>
    `| ${cells.map((cell) => cell.replaceAll('|', '\\|')).join(' | ')} |`
  return [line(head), `|${'---|'.repeat(head.length)}`, ...rows.map(line)].join('\n')
}
