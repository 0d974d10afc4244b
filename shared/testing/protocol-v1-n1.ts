import { readFileSync } from 'node:fs'
import { z } from 'zod'

/** Reads what was recorded of the previous version's wire; protocol-v1-n1/README.md says what it is. */

const jsonSchema = z.unknown()

const orderSchema = z.object({
  header: z.record(z.string(), z.string()),
  claims: z.looseObject({ job: z.looseObject({ id: z.string(), kind: z.string(), epoch: z.number() }) }),
})

const callSchema = z.object({
  who: z.enum(['agent', 'person']),
  method: z.string(),
  path: z.string(),
  body: jsonSchema.optional(),
  status: z.number(),
  /** Absent: application/json. */
  type: z.string().optional(),
  reply: z.looseObject({ order: orderSchema.optional() }),
  wrong_signature: z.boolean().optional(),
})
export type RecordedCall = z.infer<typeof callSchema>

const lapseSchema = z.object({ lapse: z.string() })

export type Recorded = RecordedCall | z.infer<typeof lapseSchema>

export function recorded(name: 'jobs' | 'refusals'): Recorded[] {
  return z.array(z.union([callSchema, lapseSchema])).parse(readJson(`${name}.json`))
}

/** JSON Schemas (draft 2020-12) of the previous version's requests and of its order. */
export function requestSchemas(): Record<'poll' | 'accept' | 'report' | 'complete' | 'archives' | 'order', object> {
  const schema = z.looseObject({})
  const names = { poll: schema, accept: schema, report: schema, complete: schema, archives: schema, order: schema }
  return z.object(names).parse(readJson('request-schemas.json'))
}

function readJson(name: string): unknown {
  return JSON.parse(readFileSync(new URL(`protocol-v1-n1/${name}`, import.meta.url), 'utf8'))
}
