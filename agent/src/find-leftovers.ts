import { archivePrefix } from './archive/object-names.ts'
import type { AgentContext } from './context.ts'
import { endedJobs } from './journal/journal.ts'
import { openSession } from './postgres/session.ts'
import { findLeftoverGenerations, type LeftoverGeneration } from './reindex/full/find-leftover-generations.ts'
import { readAsides, type FoundAside } from './restore/stage/aside.ts'

/*
 * What jobs have left behind: tables loaded beside and never swapped in (stage), tables that a swap replaced (previous,
 * kept for an undo), multipart uploads that were never completed, and collections that were never live. Only looks.
 */

export type Leftover = { job: string; isOurs: boolean } & (
  | { kind: 'stage' | 'previous'; target: string; aside: FoundAside }
  | { kind: 'upload'; key: string; uploadId: string }
  | { kind: 'generation'; generation: LeftoverGeneration }
)

/** `isOurs`: of a job of this agent that has ended; only those may be removed. */
export async function findInTarget(context: AgentContext, target: string, signal: AbortSignal): Promise<Leftover[]> {
  const ended = await endedJobs(context.stateDir)
  await using session = await openSession(context.databaseUrl(target), { purpose: 'leftovers', signal, readOnly: true })
  return (await readAsides(session)).flatMap((aside): Leftover[] => {
    const { kind, job } = aside
    return kind === 'hold' ? [] : [{ kind, job, target, aside, isOurs: ended.has(job) }]
  })
}

/** Of this agent's ended jobs; other uploads below the prefix are another agent's, or of a job that runs. */
export async function findUploads(context: AgentContext, signal: AbortSignal): Promise<Leftover[]> {
  const folders = [...(await endedJobs(context.stateDir))].flatMap(([job, begun]) =>
    begun.map(({ archive, kind }) => ({ job, folder: archivePrefix(context.prefix, kind, archive) })),
  )
  if (folders.length === 0) return []
  const open = (await context.store.openUploads(context.prefix, signal)) ?? []
  return open.flatMap(({ key, uploadId }): Leftover[] => {
    const owner = folders.find(({ folder }) => key.startsWith(folder))
    return owner ? [{ kind: 'upload', job: owner.job, key, uploadId, isOurs: true }] : []
  })
}

/** True where there is a search server to look at. */
export function hasSearch({ policy, hasSearchServer }: AgentContext): boolean {
  return hasSearchServer && Object.keys(policy.collections).length > 0
}

/**
 * Collections that this agent's ended jobs made and that were never live. Of another agent's jobs nothing is known here, but
 * what is named.
 */
export async function findGenerations(context: AgentContext, signal: AbortSignal, named?: string): Promise<Leftover[]> {
  const ended = await endedJobs(context.stateDir)
  await using typesense = await context.openTypesense(signal)
  const found = await findLeftoverGenerations(typesense, (job) => ended.has(job) || job === named)
  return found.map((generation) => ({ kind: 'generation', job: generation.job, generation, isOurs: true }))
}
