import type { Collection, CollectionField, CollectionSchema } from '../../typesense/typesense.ts'
import { FIELD_OPTIONS } from './write-schema.ts'

const SORTED_BY_DEFAULT: ReadonlySet<string> = new Set(['int32', 'int64', 'float', 'bool', 'geopoint'])

/** What the server fills in where a field says nothing (recorded from a server of the line of version 30). */
function defaults({ type }: CollectionField): Omit<Required<CollectionField>, 'name' | 'type'> {
  return {
    optional: false,
    facet: false,
    index: true,
    infix: false,
    sort: SORTED_BY_DEFAULT.has(type),
    stem: false,
    store: true,
    range_index: false,
    locale: '',
    reference: '',
  }
}

/**
 * How a live collection differs from what the mapping would make, one sentence each; [] where it does not. Options that are
 * left out mean the server's defaults; parts of objects that the server inferred do not count.
 */
export function describeDrift(schema: CollectionSchema, live: Collection): string[] {
  const declared = new Map(withoutId(schema.fields).map((field) => [field.name, field]))
  const found = new Map(withoutId(live.fields).map((field) => [field.name, field]))
  const objects = schema.fields.filter(({ type }) => type === 'object' || type === 'object[]')
  const isInferred = (name: string) => objects.some((object) => name.startsWith(`${object.name}.`))
  return [
    ...[...declared.values()].flatMap((field) => {
      const other = found.get(field.name)
      return other ? fieldDrift(field, other) : [`The live collection has no field ${field.name}.`]
    }),
    ...[...found.keys()]
      .filter((name) => !declared.has(name) && !isInferred(name))
      .map((name) => `The live collection has a field ${name} that the mapping does not have.`),
    ...collectionDrift(schema, live),
  ]
}

/** The server leaves a field of this name out of the schema. */
function withoutId(fields: CollectionField[]): CollectionField[] {
  return fields.filter(({ name }) => name !== 'id')
}

function fieldDrift(field: CollectionField, live: CollectionField): string[] {
  if (field.type !== live.type) {
    return [`The field ${field.name} is ${live.type} in the live collection and ${field.type} in the mapping.`]
  }
  const wanted = { ...defaults(field), ...field }
  const has = { ...defaults(live), ...live }
  return FIELD_OPTIONS.filter((option) => wanted[option] !== has[option] && !isServersChoice(option, field)).map(
    (option) =>
      `The field ${field.name} has ${option}: ${JSON.stringify(has[option])} in the live collection and ${JSON.stringify(wanted[option])} in the mapping.`,
  )
}

/** An object is not sorted by, whatever the server says. */
function isServersChoice(option: (typeof FIELD_OPTIONS)[number], field: CollectionField): boolean {
  return option === 'sort' && field.sort === undefined && field.type.startsWith('object')
}

function collectionDrift(schema: CollectionSchema, live: Collection): string[] {
  const wanted = settings(schema)
  const has = settings(live)
  return (['default_sorting_field', 'enable_nested_fields', 'token_separators', 'symbols_to_index'] as const)
    .filter((name) => wanted[name] !== has[name])
    .map((name) => `${name} is ${has[name]} in the live collection and ${wanted[name]} in the mapping.`)
}

function settings(schema: CollectionSchema) {
  return {
    default_sorting_field: schema.default_sorting_field || 'not set',
    enable_nested_fields: String(schema.enable_nested_fields ?? false),
    token_separators: JSON.stringify((schema.token_separators ?? []).toSorted()),
    symbols_to_index: JSON.stringify((schema.symbols_to_index ?? []).toSorted()),
  }
}
