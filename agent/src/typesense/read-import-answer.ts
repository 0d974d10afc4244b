import { z } from 'zod'
import type { RefusedLine } from './typesense.ts'

/** What the server writes for a line that it took, in every version. */
const TAKEN = '{"success":true'

const lineSchema = z.union([
  z.object({ success: z.literal(true) }),
  z.object({ success: z.literal(false), code: z.int().default(400), error: z.string().default('') }),
])

/**
 * One line an answer, in the order of what was sent. Undefined when they are not as many, or not what an import answers:
 * nothing is known then of what was applied. Older servers echo refused documents: nothing of that is kept.
 */
export function readImportAnswer(text: string, lines: number): RefusedLine[] | undefined {
  const refused: RefusedLine[] = []
  let line = 0
  for (let at = 0; at < text.length; line += 1) {
    const newline = text.indexOf('\n', at)
    const end = newline === -1 ? text.length : newline
    if (!text.startsWith(TAKEN, at)) {
      const answer = readLine(text.slice(at, end))
      if (!answer) return undefined
      if (!answer.success) refused.push({ line, code: answer.code, error: answer.error })
    }
    at = end + 1
  }
  return line === lines ? refused : undefined
}

function readLine(text: string): z.infer<typeof lineSchema> | undefined {
  try {
    return lineSchema.safeParse(JSON.parse(text)).data
  } catch {
    return undefined
  }
}
