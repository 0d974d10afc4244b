import { jobIdSchema } from '@multiboard-sync/shared/job'
import { z } from 'zod'

/*
 * A generation is a collection of our own making behind an alias: `components__20261122T160300Z_j4k7q2m9xw1ab`. Only what
 * bears such a name AND our metadata is ever dropped, by its real name, while no alias points to it.
 */

/** Under this key of a collection's metadata. */
const METADATA_KEY = 'multiboard_sync'

const generationSchema = z.object({
  alias: z.string(),
  /** The job that made it. */
  job: jobIdSchema,
  made_at: z.iso.datetime(),
  /** Of the compiled mapping: another one needs another generation. */
  mapping_sha256: z.string(),
  /** `building` until its documents were proven. */
  state: z.enum(['building', 'complete']),
  /** Of the documents' texts as they were when they were last proven (sum-documents.ts); absent while they are changed. */
  documents_checksum: z.string().optional(),
  /** The job that last brought it up to date. */
  updated_by: jobIdSchema.optional(),
  /** The job that pointed the alias away from it: an undo of that job points it back. */
  replaced_by: jobIdSchema.optional(),
})
export type Generation = z.infer<typeof generationSchema>

export function generationName(alias: string, at: Date, job: string): string {
  const time = at
    .toISOString()
    .replaceAll(/[-:]/g, '')
    .replace(/\.\d+Z$/, 'Z')
  return `${alias}__${time}_${job}`
}

/** The alias and the job in a generation's name; undefined for a name that is not of our making. */
export function parseGenerationName(name: string): { alias: string; job: string } | undefined {
  const match = /^(.+)__\d{8}T\d{6}Z_(j[0-9a-z]{12})$/.exec(name)
  const [, alias, job] = match ?? []
  return alias !== undefined && jobIdSchema.safeParse(job).success && job !== undefined ? { alias, job } : undefined
}

/** What we wrote down of a collection; undefined when it is not of our making, or another alias's. */
export function readGeneration(collection: {
  name: string
  metadata: Record<string, unknown>
}): Generation | undefined {
  const named = parseGenerationName(collection.name)
  const parsed = generationSchema.safeParse(collection.metadata[METADATA_KEY])
  if (!named || !parsed.success) return undefined
  return parsed.data.alias === named.alias && parsed.data.job === named.job ? parsed.data : undefined
}

export function writeGeneration(generation: Generation): Record<string, unknown> {
  return { [METADATA_KEY]: generation }
}
