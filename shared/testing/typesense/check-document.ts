import type { Field } from './fields.ts'
import { fixChildren } from './fix-children.ts'
import { WholeDouble, type Json, type JsonObject } from './json-text.ts'
import { LineFault } from './line-fault.ts'
import type { StoredCollection } from './state.ts'

/**
 * Holds a document against the schema, as `dirty_values=reject` does, indexed or not. Takes nulls out of optional fields of a
 * new one, and makes an empty list of a null in a required one. Throws LineFault. `partial`: what is missing may be missing.
 * An int32 beyond its range is let through, as the server does.
 */
export function checkDocument(
  collection: StoredCollection,
  document: JsonObject,
  { partial, isNew }: { partial: boolean; isNew: boolean },
): void {
  const { defaultSortingField } = collection
  const flat = collection.nested ? fixChildren(collection, document, isNew) : new Map<string, Json>()
  if (defaultSortingField !== '' && !partial && !document.has(defaultSortingField) && !flat.has(defaultSortingField)) {
    throw new LineFault(
      400,
      `Field \`${defaultSortingField}\` has been declared as a default sorting field, but is not found in the document.`,
    )
  }
  for (const field of collection.fields) {
    if (field.type.startsWith('object') || field.name.includes('*')) continue
    checkField(field, document, flat, partial)
  }
}

function checkField(field: Field, document: JsonObject, flat: ReadonlyMap<string, Json>, partial: boolean): void {
  const { name, optional, store } = field
  const own = document.has(name)
  const value = own ? document.get(name) : flat.get(name)
  if (value === undefined) {
    if (optional || partial || !store) return
    throw new LineFault(400, `Field \`${name}\` has been declared in the schema, but is not found in the document.`)
  }
  if (value === null && optional) {
    // A partial document needs it: it takes the field out of what is held.
    if (!partial) document.delete(name)
    return
  }
  if (value === null && field.type.endsWith('[]')) return void (own && document.set(name, []))
  const problem = findProblem(field, value, !own)
  if (problem !== undefined) throw new LineFault(400, `Field \`${name}\` ${problem}`)
}

const isInteger = (value: Json) => (typeof value === 'number' && Number.isInteger(value)) || typeof value === 'bigint'
const isNumber = (value: Json) => typeof value === 'number' || typeof value === 'bigint' || value instanceof WholeDouble
const CHECKS = new Map<string, { fits: (value: Json) => boolean; article: string }>([
  ['string', { fits: (value) => typeof value === 'string', article: 'a' }],
  ['int32', { fits: isInteger, article: 'an' }],
  ['int64', { fits: isInteger, article: 'an' }],
  ['float', { fits: isNumber, article: 'a' }],
  ['bool', { fits: (value) => typeof value === 'boolean', article: 'a' }],
])

function findProblem({ type }: Field, value: Json, nested: boolean): string | undefined {
  if (type === 'geopoint') return findPointProblem(value, 'must be a 2 element array: [lat, lng].', 'a')
  const element = type.replace('[]', '')
  if (type !== element && !Array.isArray(value)) return 'must be an array.'
  if (type === 'geopoint[]') {
    const told = 'must contain 2 element arrays: [ [lat, lng],... ].'
    const points = Array.isArray(value) ? value : []
    return points.map((point) => findPointProblem(point, told, 'an array of')).find((problem) => problem !== undefined)
  }
  const check = CHECKS.get(element)
  if (!check) return undefined
  if (element === type) return check.fits(value) ? undefined : `must be ${check.article} ${type}.`
  const fits = Array.isArray(value) && value.every((item) => check.fits(item) || (nested && item === null))
  return fits ? undefined : `must be an array of ${element}.`
}

function findPointProblem(value: Json, told: string, article: string): string | undefined {
  if (!Array.isArray(value) || value.length !== 2) return told
  return value.every(isNumber) ? undefined : `must be ${article} geopoint.`
}
