import type { Field } from './fields.ts'
import { WholeDouble, type Json, type JsonObject } from './json-text.ts'
import type { StoredCollection } from './state.ts'

/** A line of an import that is not taken. */
export class LineFault extends Error {
  readonly code: number
  constructor(code: number, message: string) {
    super(message)
    this.code = code
  }
}

/**
 * Holds a document against the schema, as `dirty_values=reject` does. Takes nulls out of optional fields. What children an
 * object has is fixed by the first document that brings them, and is added to the schema here.
 * Throws LineFault. An int32 beyond its range is let through, as the server does.
 */
export function checkDocument(collection: StoredCollection, document: JsonObject, partial: boolean): void {
  const { defaultSortingField } = collection
  if (defaultSortingField !== '' && !partial && !document.has(defaultSortingField)) {
    throw new LineFault(
      400,
      `Field \`${defaultSortingField}\` has been declared as a default sorting field, but is not found in the document.`,
    )
  }
  for (const field of collection.fields.slice()) checkField(collection, field, document, partial)
}

function checkField(collection: StoredCollection, field: Field, document: JsonObject, partial: boolean): void {
  const { name, optional } = field
  if (!field.index || name.includes('*')) return
  const nested = collection.nested && name.includes('.') && !document.has(name)
  const value = nested ? reach(document, name.split('.')) : document.get(name)
  if (value === undefined) {
    if (optional || partial || hasParent(collection, name)) return
    throw new LineFault(400, `Field \`${name}\` has been declared in the schema, but is not found in the document.`)
  }
  if (value === null && optional) {
    if (!nested) document.delete(name)
    return
  }
  const problem = findProblem(field, value)
  if (problem !== undefined) throw new LineFault(400, `Field \`${name}\` ${problem}`)
  if (field.type === 'object' || field.type === 'object[]') fixChildren(collection, field, value)
}

function hasParent({ fields }: StoredCollection, name: string): boolean {
  return fields.some((field) => field.type.startsWith('object') && name.startsWith(`${field.name}.`))
}

/** The values under a path; below an array of objects those of all its elements. */
export function reach(value: Json | undefined, path: string[]): Json | undefined {
  const [first, ...rest] = path
  if (first === undefined || value === undefined) return value
  if (Array.isArray(value)) {
    const found = value.map((item) => reach(item, path)).filter((item) => item !== undefined)
    return found.length === 0 ? undefined : found.flat()
  }
  return value instanceof Map ? reach(value.get(first), rest) : undefined
}

const isInteger = (value: Json) => (typeof value === 'number' && Number.isInteger(value)) || typeof value === 'bigint'
const isNumber = (value: Json) => typeof value === 'number' || typeof value === 'bigint' || value instanceof WholeDouble
const isPoint = (value: Json) => Array.isArray(value) && value.length === 2 && value.every(isNumber)
const CHECKS = new Map<string, { fits: (value: Json) => boolean; article: string }>([
  ['string', { fits: (value) => typeof value === 'string', article: 'a' }],
  ['int32', { fits: isInteger, article: 'an' }],
  ['int64', { fits: isInteger, article: 'an' }],
  ['float', { fits: isNumber, article: 'a' }],
  ['bool', { fits: (value) => typeof value === 'boolean', article: 'a' }],
])

function findProblem({ type }: Field, value: Json): string | undefined {
  if (type === 'object') return value instanceof Map ? undefined : 'must be an object.'
  if (type === 'object[]') {
    const fits = Array.isArray(value) && value.every((item) => item instanceof Map)
    return fits ? undefined : 'must be an array of objects.'
  }
  if (type === 'geopoint') return isPoint(value) ? undefined : 'must be a 2 element array: [lat, lng].'
  if (type === 'geopoint[]') {
    const fits = Array.isArray(value) && value.every(isPoint)
    return fits ? undefined : 'must contain 2 element arrays: [ [lat, lng],... ].'
  }
  const element = type.replace('[]', '')
  const check = CHECKS.get(element)
  if (!check) return undefined
  if (element === type) return check.fits(value) ? undefined : `must be ${check.article} ${type}.`
  if (!Array.isArray(value)) return 'must be an array.'
  return value.every(check.fits) ? undefined : `must be an array of ${element}.`
}

function fixChildren(collection: StoredCollection, parent: Field, value: Json): void {
  const inArray = parent.type === 'object[]'
  for (const object of Array.isArray(value) ? value : [value]) {
    if (!(object instanceof Map)) continue
    for (const [key, child] of object) {
      const name = `${parent.name}.${key}`
      const known = collection.fields.find((field) => field.name === name)
      const type = inferType(child, inArray)
      if (type === undefined) continue
      const field: Field = known ?? {
        ...parent,
        name,
        optional: true,
        sort: /^(int|float|bool)/.test(type),
        type,
      }
      if (!known) collection.fields.push(field)
      const held = inArray && !Array.isArray(child) && !field.type.startsWith('object') ? [child] : child
      const problem = findProblem(field, held)
      if (problem !== undefined) throw new LineFault(400, `Field \`${name}\` ${problem}`)
      if (field.type.startsWith('object')) fixChildren(collection, field, child)
    }
  }
}

function inferType(value: Json, inArray: boolean): string | undefined {
  if (Array.isArray(value)) {
    const [first] = value
    const element = first === undefined ? undefined : inferType(first, false)
    return element === undefined || element.endsWith('[]') ? undefined : `${element}[]`
  }
  const suffix = inArray ? '[]' : ''
  if (typeof value === 'string') return `string${suffix}`
  if (typeof value === 'boolean') return `bool${suffix}`
  if (value === null) return undefined
  if (value instanceof Map) return `object${suffix}`
  return isInteger(value) ? `int64${suffix}` : `float${suffix}`
}
