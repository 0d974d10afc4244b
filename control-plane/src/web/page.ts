import { z } from 'zod'

const DEFAULT_LIMIT = 50
const MAX_LIMIT = 100

/** The same, as callers see it. */
export const pageQuery = z.object({
  limit: z.int().min(1).max(MAX_LIMIT).default(DEFAULT_LIMIT),
  cursor: z.string().max(400).optional().meta({ description: '`next` of the page before.' }),
})

export const linkHeader = { Link: 'The next page, with rel="next" (RFC 8288).' }

/** A page's body. */
export function pageOf(name: string, item: z.ZodType) {
  return z.object({ [name]: z.array(item), next: z.string().nullable() })
}

/** `?limit=` and `?cursor=` of a list. A cursor is opaque outside: the last row's sort key. */
export function pageSchema<Key>(key: z.ZodType<Key>) {
  return z.object({
    limit: z.coerce.number().int().min(1).max(MAX_LIMIT).default(DEFAULT_LIMIT),
    cursor: z
      .string()
      .max(400)
      .transform((text, context) => {
        const parsed = key.safeParse(decode(text))
        if (parsed.success) return parsed.data
        context.addIssue({ code: 'custom', message: 'not a cursor of this list' })
        return z.NEVER
      })
      .optional(),
  })
}

/** A moment in a cursor. PostgreSQL knows no year 0. */
export const momentSchema = z.iso.datetime().refine((text) => !text.startsWith('0000'))

export function encodeCursor(key: readonly string[]): string {
  return Buffer.from(JSON.stringify(key)).toString('base64url')
}

function decode(text: string): unknown {
  try {
    return JSON.parse(Buffer.from(text, 'base64url').toString('utf8'))
  } catch {
    return undefined
  }
}

/** The header `link` to the next page (RFC 8288), as path and query. */
export function linkToNext(requestUrl: string, cursor: string): string {
  const url = new URL(requestUrl)
  url.searchParams.set('cursor', cursor)
  return `<${url.pathname}${url.search}>; rel="next"`
}
