import type { MappedField, Mapping } from '@multiboard-sync/shared/mapping'
import type { CollectionField, CollectionSchema } from '../../typesense/typesense.ts'

/** What a field says about where its values come from is not the server's. */
export function writeSchema({ fields, collection }: Mapping): CollectionSchema {
  return {
    fields: fields.map((field) => pick(field, ['name', 'type', ...FIELD_OPTIONS])),
    ...pick(collection, COLLECTION_KEYS),
  }
}

/** Of a field, what the server has a default for. */
export const FIELD_OPTIONS = [
  'optional',
  'facet',
  'index',
  'infix',
  'sort',
  'stem',
  'store',
  'range_index',
  'locale',
  'reference',
] as const satisfies (keyof CollectionField)[]
const COLLECTION_KEYS = [
  'default_sorting_field',
  'enable_nested_fields',
  'token_separators',
  'symbols_to_index',
] as const satisfies (keyof CollectionSchema)[]

type Picked<T, Key extends keyof T> = { [One in Key]: Exclude<T[One], undefined> }

function pick<T extends object, Key extends keyof T>(value: T, keys: readonly Key[]): Picked<T, Key>
function pick(value: Record<string, unknown>, keys: readonly string[]): object {
  return Object.fromEntries(keys.filter((key) => value[key] !== undefined).map((key) => [key, value[key]]))
}

/** Fields that name a part of an object: their values are in the object's column. */
export function isChild(field: MappedField, mapping: Mapping): boolean {
  return mapping.collection.enable_nested_fields === true && field.name.includes('.') && field.column === undefined
}

const NUMBERS: ReadonlySet<string> = new Set(['int32', 'int64', 'float'])
const STRINGS: ReadonlySet<string> = new Set(['string', 'string[]'])

/** What can be told without the database: everything that the search server would refuse when the collection is made. */
export function schemaFindings(mapping: Mapping): string[] {
  return [
    ...duplicates(mapping),
    ...mapping.fields.flatMap((field) => fieldFindings(field, mapping).map((text) => `${field.name}: ${text}`)),
    ...sortingFindings(mapping).map((text) => `default_sorting_field: ${text}`),
  ]
}

function duplicates({ fields, display_only }: Mapping): string[] {
  const names = fields.map((field) => field.name)
  const twice = new Set(names.filter((name, index) => names.indexOf(name) !== index))
  const shown = new Set(display_only.filter((name, index) => display_only.indexOf(name) !== index))
  return [
    ...[...twice].map((name) => `${name}: two fields have this name.`),
    ...[...shown].map((name) => `display_only: \`${name}\` is named twice.`),
    ...display_only
      .filter((name) => names.includes(name))
      .map((name) => `display_only: \`${name}\` is a field already, and stored as such.`),
    ...display_only
      .filter((name) => name === 'id')
      .map(() => 'display_only: `id` is the id of the document; give the column another name in `sql:`.'),
  ]
}

function fieldFindings(field: MappedField, mapping: Mapping): string[] {
  const findings: string[] = []
  const nested = mapping.collection.enable_nested_fields === true
  if (field.type.startsWith('object') && !nested) {
    findings.push('objects need `enable_nested_fields: true` under `collection:`.')
  }
  if (nested && field.name.includes('.')) {
    if (field.column !== undefined || field.columns !== undefined) {
      findings.push('a name with a dot is a part of an object and has no column of its own.')
    } else if (!mapping.fields.some((one) => isObject(one) && field.name.startsWith(`${one.name}.`))) {
      findings.push(`a part of an object needs the object: declare a field \`${field.name.split('.')[0] ?? ''}\`.`)
    } else if (field.as !== undefined || field.approximate !== undefined) {
      findings.push('a part of an object is written as the object has it: leave `as` and `approximate` out.')
    }
  }
  if (field.facet && field.index === false) findings.push('`facet` needs an index: leave `index: false` out.')
  if (field.type === 'geopoint' && field.sort === false) findings.push('a geopoint can always be sorted by.')
  if (field.locale !== undefined && !/^([a-z]{2})?$/.test(field.locale)) findings.push('`locale` has two letters.')
  for (const option of ['infix', 'stem', 'locale'] as const) {
    if (field[option] && !STRINGS.has(field.type)) findings.push(`\`${option}\` is for strings.`)
  }
  if (field.range_index && !NUMBERS.has(field.type.replace('[]', ''))) findings.push('`range_index` is for numbers.')
  if (field.columns !== undefined && field.column !== undefined) findings.push('write `column` or `columns`, not both.')
  return findings
}

function isObject(field: MappedField): boolean {
  return field.type === 'object' || field.type === 'object[]'
}

function sortingFindings({ fields, collection }: Mapping): string[] {
  const name = collection.default_sorting_field
  if (name === undefined || name === '') return []
  const field = fields.find((one) => one.name === name)
  if (field === undefined) return [`no field is named \`${name}\`.`]
  const findings: string[] = []
  if (field.optional) findings.push(`\`${name}\` is optional; every document must have it.`)
  const sortable = NUMBERS.has(field.type) ? field.sort !== false : field.type === 'string' && field.sort === true
  if (!sortable) findings.push(`\`${name}\` must be a number, or a string with \`sort: true\`.`)
  return findings
}
