import type { Field } from './fields.ts'
import { WholeDouble, type Json, type JsonObject } from './json-text.ts'
import { LineFault } from './line-fault.ts'
import type { StoredCollection } from './state.ts'

const WRONG = 'has an incorrect type.'

/**
 * Flattens what lies below declared objects, and takes nulls out of their children in a new document. A child's type is that of the first
 * document that brings it: it is added to the schema here, and later documents are held against it.
 * Answers the values by their whole names. Throws LineFault.
 */
export function fixChildren(collection: StoredCollection, document: JsonObject, isNew: boolean): Map<string, Json> {
  const flat = new Map<string, Json>()
  for (const field of collection.fields.filter(({ index }) => index)) {
    const path = field.name.split('.')
    const isObject = field.type === 'object' || field.type === 'object[]'
    if (!isObject && (path.length === 1 || document.has(field.name))) continue
    const found = reach(document, path)
    if (found === undefined) {
      if (field.optional || !isObject) continue
      throw new LineFault(404, `Field \`${field.name}\` not found.`)
    }
    if (isObject) flattenObject(field, found, flat, isNew)
    else if (!flat.has(field.name)) flat.set(field.name, found)
  }
  for (const [name, value] of flat) {
    if (!collection.fields.some((field) => field.name === name)) addChild(collection, name, value)
  }
  return flat
}

function flattenObject(field: Field, value: Json, flat: Map<string, Json>, isNew: boolean): void {
  if (value === null && field.optional) return
  const isArray = field.type === 'object[]'
  const objects = isArray ? value : [value]
  if (!Array.isArray(objects) || !objects.every((object) => object instanceof Map)) {
    throw new LineFault(400, `Field \`${field.name}\` ${WRONG}`)
  }
  for (const object of objects) flatten(object, field.name, isArray, flat)
  if (isNew) for (const object of objects) dropNulls(object)
}

function flatten(value: Json, name: string, inArray: boolean, flat: Map<string, Json>): void {
  if (value instanceof Map) {
    for (const [key, child] of value) {
      if (child !== null) flatten(child, `${name}.${key}`, inArray, flat)
    }
  } else if (Array.isArray(value)) {
    for (const item of value) flatten(item, name, true, flat)
  } else if (value !== null) {
    const held = flat.get(name)
    if (inArray) flat.set(name, Array.isArray(held) ? [...held, value] : [value])
    else flat.set(name, value)
  }
}

function dropNulls(value: Json): void {
  if (Array.isArray(value)) value.forEach(dropNulls)
  if (!(value instanceof Map)) return
  for (const [key, child] of value) {
    if (child === null) value.delete(key)
    else dropNulls(child)
  }
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

/** It inherits from the object that it lies in. */
function addChild(collection: StoredCollection, name: string, value: Json): void {
  const parent = collection.fields.find((field) => name.startsWith(`${field.name}.`) && field.type.startsWith('object'))
  const type = inferType(value)
  if (!parent || type === undefined) return
  collection.fields.push({ ...parent, name, optional: true, sort: /^(int|float|bool)/.test(type), type })
}

function inferType(value: Json): string | undefined {
  if (Array.isArray(value)) {
    const last = value.at(-1)
    const element = last === undefined ? undefined : inferType(last)
    return element === undefined ? undefined : `${element}[]`
  }
  if (typeof value === 'string') return 'string'
  if (typeof value === 'boolean') return 'bool'
  if (typeof value === 'bigint' || (typeof value === 'number' && Number.isInteger(value))) return 'int64'
  return typeof value === 'number' || value instanceof WholeDouble ? 'float' : undefined
}
