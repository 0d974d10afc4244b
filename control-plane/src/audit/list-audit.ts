import { z } from 'zod'
import type { Database } from '../store/open-database.ts'
import { encodeCursor, pageSchema } from '../web/page.ts'

const detailSchema = z.record(z.string(), z.union([z.string(), z.number(), z.boolean(), z.null()]))

export const auditPageSchema = pageSchema(z.tuple([z.string().regex(/^\d{1,15}$/)])).extend({
  object: z
    .string()
    .regex(/^[^\0]{1,200}$/, 'text of 1 to 200 characters')
    .optional(),
})

export const auditEntrySchema = z
  .object({
    n: z.int().meta({ description: 'Counts from 1 without a gap.' }),
    at: z.iso.datetime(),
    actor: z.string(),
    action: z.string(),
    object: z.string(),
    detail: detailSchema,
    hash: z.string().meta({ description: 'SHA-256 over the hash before and this entry, in hex.' }),
  })
  .meta({ id: 'AuditEntry' })

interface AuditRow {
  n: string
  at: Date
  actor: string
  action: string
  object: string
  detail: z.output<typeof detailSchema>
  hash: string
}

/** One page of the audit, newest first, of one object if asked, and the cursor of the next page when there is more. */
export async function listAudit(
  database: Database,
  { cursor, limit, object }: z.output<typeof auditPageSchema>,
): Promise<{ entries: z.output<typeof auditEntrySchema>[]; next: string | undefined }> {
  const rows = await database.query<AuditRow>(
    `select n, at, actor, action, object, detail, encode(hash, 'hex') as hash from multiboard.audit
     where ($1::bigint is null or n < $1) and ($2::text is null or object = $2)
     order by n desc limit $3`,
    [cursor?.[0] ?? null, object ?? null, limit + 1],
  )
  const entries = rows.slice(0, limit).map((row) => ({ ...row, n: Number(row.n), at: row.at.toISOString() }))
  const last = entries.at(-1)
  const next = rows.length > limit && last ? encodeCursor([String(last.n)]) : undefined
  return { entries, next }
}
