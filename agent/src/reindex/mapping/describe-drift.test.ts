import { expect, test } from 'vitest'
import type { Collection, CollectionField, CollectionSchema } from '../../typesense/typesense.ts'
import { describeDrift } from './describe-drift.ts'

const schema: CollectionSchema = {
  fields: [
    { name: 'title', type: 'string' },
    { name: 'price', type: 'float', optional: true },
    { name: 'tags', type: 'string[]', facet: true, optional: true },
    { name: 'specs', type: 'object' },
    { name: 'popularity', type: 'int32' },
  ],
  default_sorting_field: 'popularity',
  enable_nested_fields: true,
}

/** As a server of the line of version 30 answers: every default is filled in. */
function filled(field: CollectionField): CollectionField {
  const sort = ['int32', 'float', 'bool', 'int64'].includes(field.type)
  const defaults = { facet: false, index: true, infix: false, locale: '', optional: false, sort, stem: false }
  return Object.assign({ ...defaults, stem_dictionary: '', store: true }, field)
}

function live(changes: Partial<Collection> = {}): Collection {
  return {
    name: 'parts__1',
    documents: 5,
    metadata: {},
    synonymSets: [],
    curationSets: [],
    fields: [...schema.fields.map(filled), filled({ name: 'specs.w', type: 'int64', optional: true })],
    default_sorting_field: 'popularity',
    enable_nested_fields: true,
    token_separators: [],
    symbols_to_index: [],
    ...changes,
  }
}

const changed = (name: string, change: Partial<CollectionField>) =>
  live({ fields: live().fields.map((field) => (field.name === name ? { ...field, ...change } : field)) })

test('a collection that the mapping made does not differ from it', () => {
  expect(describeDrift(schema, live())).toEqual([])
})

test('a field of another type, option or name is told', () => {
  expect(describeDrift(schema, changed('price', { type: 'int64' }))).toEqual([
    'The field price is int64 in the live collection and float in the mapping.',
  ])
  expect(describeDrift(schema, changed('price', { optional: false, sort: false }))).toEqual([
    'The field price has optional: false in the live collection and true in the mapping.',
    'The field price has sort: false in the live collection and true in the mapping.',
  ])
  expect(describeDrift(schema, changed('title', { name: 'titel' }))).toEqual([
    'The live collection has no field title.',
    'The live collection has a field titel that the mapping does not have.',
  ])
  expect(describeDrift(schema, changed('title', { locale: 'de', infix: true }))).toEqual([
    'The field title has infix: true in the live collection and false in the mapping.',
    'The field title has locale: "de" in the live collection and "" in the mapping.',
  ])
})

test('a part of an object counts only where the mapping declares it', () => {
  const declared = { ...schema, fields: [...schema.fields, { name: 'specs.w', type: 'float', optional: true }] }
  expect(describeDrift(declared, live())).toEqual([
    'The field specs.w is int64 in the live collection and float in the mapping.',
  ])
  expect(
    describeDrift(schema, live({ fields: [...live().fields, filled({ name: 'other.w', type: 'int64' })] })),
  ).toEqual(['The live collection has a field other.w that the mapping does not have.'])
})

test('settings of the collection are compared, whatever order they are in', () => {
  const separated = { ...schema, token_separators: ['-', '/'] }
  expect(describeDrift(separated, live({ token_separators: ['/', '-'] }))).toEqual([])
  expect(describeDrift(separated, live({ default_sorting_field: '', enable_nested_fields: false }))).toEqual([
    'default_sorting_field is not set in the live collection and popularity in the mapping.',
    'enable_nested_fields is false in the live collection and true in the mapping.',
    'token_separators is [] in the live collection and ["-","/"] in the mapping.',
  ])
})

test('a field id is no part of a schema', () => {
  expect(describeDrift(schema, live({ fields: [...live().fields, filled({ name: 'id', type: 'string' })] }))).toEqual(
    [],
  )
})
