import { writeJson, type Json, type JsonObject } from './json-text.ts'

/**
 * What is held after a document was written over another one. An upsert holds what it brings, an update and an emplace
 * what was there as well. A null takes its field out, at any depth, and out of lists: unlike in a document that is new.
 */
export function mergeDocument(held: JsonObject, brought: JsonObject, action: 'upsert' | 'merge'): JsonObject {
  const target = action === 'upsert' ? new Map(brought) : new Map(held)
  patch(target, brought, held)
  return target
}

function patch(target: JsonObject, brought: JsonObject, held: JsonObject): void {
  for (const [key, value] of brought) {
    const before = held.get(key)
    const there = target.get(key)
    if (value === null) target.delete(key)
    else if (value instanceof Map && there instanceof Map && before instanceof Map) {
      const inner = new Map(there)
      patch(inner, value, before)
      target.set(key, inner)
    } else if (before === undefined || writeJson(withoutNulls(value)) !== writeJson(before)) {
      // What is equal but for its nulls is left as it was brought.
      target.set(key, withoutNulls(value))
    }
  }
}

function withoutNulls(value: Json): Json {
  if (Array.isArray(value)) return value.filter((item) => item !== null).map(withoutNulls)
  if (!(value instanceof Map)) return value
  const kept = [...value].filter(([, member]) => member !== null)
  return new Map(kept.map(([key, member]) => [key, withoutNulls(member)]))
}
