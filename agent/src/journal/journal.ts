import { readdir, rm, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { z } from 'zod'
import {
  aliasSchema,
  databaseNameSchema,
  jobIdSchema,
  jobParamsSchema,
  type JobParams,
} from '@multiboard-sync/shared/job'
import { archiveKindSchema, type ArchiveKind } from '@multiboard-sync/shared/manifest'
import type { Policy } from '@multiboard-sync/shared/policy'
import { STARTS_WITHIN_MS } from '@multiboard-sync/shared/policy-evaluate'
import { jobResultSchema, type JobResult } from '@multiboard-sync/shared/protocol'
import { searchResultSchema, type SearchResult } from '@multiboard-sync/shared/search'
import { openJsonLines, readJsonLines } from './json-lines.ts'

/*
 * What a job was about to do and what it did, on the disk before it goes on: one file per job, one line per fact, each
 * line safe against a power cut once `record` resolves. After a crash the next boot reads here how far a job came and,
 * together with the receipt in the target, says what became of it. The journal never decides anything by itself, never
 * holds rows, URLs or secrets, and a job written here as begun is never begun again.
 *
 *   accepted ─► begun ─► archive-begun ─► upload-opened* ─► archive-written ─► backup-written ─► committing ─► committed ─► finished
 *                                                                                └ from here on only the receipt in the target knows
 *
 * Engines that load beside write staging ─► staged ─► loaded ─► built ─► proven before `committing`; the backup, and the
 * archive of a sync, which is written by the rows on their way, anywhere in between. They write `tidied` when nothing of
 * theirs is left to do in the target. Without it the next boot tidies up.
 *
 * A job that reindexes writes search-planned before it changes anything, and after `committed`, or by itself, reindexing ─►
 * (generation-made | adopting)* ─► reindexed ─► search-tidied. Without the last one the next boot looks for what is left.
 */

/** Long enough to look into an old failure; finished journals are small. */
const KEEP_FINISHED_MS = 30 * 24 * 3600 * 1000
/** No process is that slow between opening a journal and writing its first line. */
const KEEP_EMPTY_MS = 24 * 3600 * 1000
const SUFFIX = '.jsonl'

const madeSchema = z.object({ alias: aliasSchema, collection: z.string() })
const adoptingSchema = madeSchema.extend({ plain: z.string() })

const stepSchemas = {
  accepted: z.object({
    params: jobParamsSchema,
    epoch: z.int().positive(),
    fence: z.int().nonnegative(),
    /** Of the process that runs the job: while it lives, the job is not to be settled by another. */
    pid: z.int().optional(),
  }),
  /** A job that the policy counts begins on its target. */
  begun: z.object({ target: databaseNameSchema }),
  'archive-begun': z.looseObject({ archive: z.string(), kind: archiveKindSchema }),
  'upload-opened': z.object({ key: z.string(), uploadId: z.string() }),
  'archive-written': z.looseObject({ archive: z.string() }),
  'backup-written': z.looseObject({ archive: z.string() }),
  /** Written before the first table is made beside the live ones, or swapped back. */
  staging: z.looseObject({ target: databaseNameSchema }),
  staged: z.looseObject({}),
  loaded: z.looseObject({}),
  built: z.looseObject({}),
  proven: z.looseObject({}),
  /** The stage is gone, and foreign keys that were added unvalidated are validated. */
  tidied: z.looseObject({}),
  /** Written before COMMIT is sent. */
  committing: z.looseObject({}),
  committed: z.looseObject({}),
  /** Written before the first write to the search server. */
  reindexing: z.looseObject({ source: databaseNameSchema, aliases: z.array(aliasSchema) }),
  /** Written right before the collection is created. */
  'generation-made': madeSchema.loose(),
  /** Written before a plain collection makes room for the alias that takes its name. */
  adopting: adoptingSchema.loose(),
  /** Collections follow what the job will change: their fate is to be told also when the job dies after its commit. */
  'search-planned': z.looseObject({ source: databaseNameSchema, aliases: z.array(aliasSchema) }),
  reindexed: z.looseObject({ search: searchResultSchema.optional() }),
  /** Nothing that the job has made for the search and that was never live is left. */
  'search-tidied': z.looseObject({}),
  finished: z.object({ result: jobResultSchema }),
}
type Steps = { [Step in keyof typeof stepSchemas]: z.input<(typeof stepSchemas)[Step]> }
type JournalStep = keyof Steps

const lineSchema = z.looseObject({
  at: z.iso.datetime(),
  step: z.enum(Object.keys(stepSchemas) as [JournalStep, ...JournalStep[]]),
})

export interface Journal extends AsyncDisposable {
  /** Resolves when the fact is on the disk; only then may what it announces be done. */
  record<Step extends JournalStep>(step: Step, data: Steps[Step]): Promise<void>
}

/** A job that was begun and whose end is not written down. */
export interface JournalSummary {
  job: string
  epoch: number
  fence: number
  params: JobParams
  acceptedAt: string
  pid?: number | undefined
  /** The last step that was written down. */
  lastStep: JournalStep
  /** Multipart uploads that may be open still. */
  uploads: { key: string; uploadId: string }[]
  /** Archives of every run, whole or not: uploads may be open beneath them that were never written down. */
  begun: { archive: string; kind: ArchiveKind }[]
  archive: string | undefined
  safetyBackup: string | undefined
  /** True from just before COMMIT: the target may have been changed. */
  mayHaveCommitted: boolean
  /** True when COMMIT was answered: the target was changed. */
  hasCommitted: boolean
  /** Aliases of the collections that follow what the job changes; none where none does. */
  searchAliases: string[]
  /** What became of them; undefined while they were not all tried. */
  search: SearchResult | undefined
}

/** Opens `<stateDir>/journal/<job>.jsonl`, new or with what it holds. */
export async function openJournal(stateDir: string, job: string, now: () => Date = () => new Date()): Promise<Journal> {
  const path = join(stateDir, 'journal', `${jobIdSchema.parse(job)}${SUFFIX}`)
  const { lines } = await openJsonLines(path, lineSchema)
  return {
    record: async (step, data) => {
      const fact = stepSchemas[step].parse(data)
      await lines.append({ ...fact, at: now().toISOString(), step })
    },
    [Symbol.asyncDispose]: async () => await lines[Symbol.asyncDispose](),
  }
}

/** The journals without an end, oldest first: what the next boot settles. Removes finished ones older than 30 days. */
export async function unfinishedJournals(stateDir: string, now: Date = new Date()): Promise<JournalSummary[]> {
  const folder = join(stateDir, 'journal')
  const unfinished: JournalSummary[] = []
  for (const name of await listJournals(folder)) {
    const path = join(folder, name)
    const lines = await readJsonLines(path, lineSchema)
    const result = finishOf(lines)
    if (result) {
      if (now.getTime() - new Date(result.at).getTime() > KEEP_FINISHED_MS) await rm(path)
      continue
    }
    const summary = summarize(name.slice(0, -SUFFIX.length), lines)
    if (summary) unfinished.push(summary)
    // Without its first line a job was never begun: a crash came before it was written, or its process is just about to.
    else if (now.getTime() - (await stat(path)).mtimeMs > KEEP_EMPTY_MS) await rm(path)
  }
  return unfinished.toSorted((a, b) => (a.acceptedAt < b.acceptedAt ? -1 : 1))
}

/** Jobs that made tables beside the live ones and have not tidied up, with the databases they did it in; oldest first. */
export async function untidyJobs(
  stateDir: string,
): Promise<{ job: string; target: string; pid: number | undefined }[]> {
  const untidy: { at: string; job: string; target: string; pid: number | undefined }[] = []
  const folder = join(stateDir, 'journal')
  for (const name of await listJournals(folder)) {
    const lines = await readJsonLines(join(folder, name), lineSchema)
    const last = lines.findLast(({ step }) => step === 'staging' || step === 'tidied')
    if (last?.step !== 'staging') continue
    const accepted = lines.findLast(({ step }) => step === 'accepted')
    const pid = accepted && !finishOf(lines) ? stepSchemas.accepted.parse(accepted).pid : undefined
    untidy.push({
      at: last.at,
      job: name.slice(0, -SUFFIX.length),
      target: stepSchemas.staging.parse(last).target,
      pid,
    })
  }
  return untidy.toSorted((a, b) => (a.at < b.at ? -1 : 1))
}

/** A job that made collections, and may have left some that never were live. */
export interface UntidySearch {
  job: string
  /** Absent once the job has ended. */
  pid: number | undefined
  made: z.infer<typeof madeSchema>[]
  adopting: z.infer<typeof adoptingSchema>[]
}

/** The jobs whose collections nobody has looked after yet. */
export async function untidySearches(stateDir: string): Promise<UntidySearch[]> {
  const untidy: UntidySearch[] = []
  const folder = join(stateDir, 'journal')
  for (const name of await listJournals(folder)) {
    const all = await readJsonLines(join(folder, name), lineSchema)
    const lines = all.slice(all.findLastIndex(({ step }) => step === 'search-tidied') + 1)
    const made = lines.filter(({ step }) => step === 'generation-made').map((line) => madeSchema.parse(line))
    if (made.length === 0) continue
    const accepted = all.findLast(({ step }) => step === 'accepted')
    untidy.push({
      job: name.slice(0, -SUFFIX.length),
      pid: accepted && !finishOf(all) ? stepSchemas.accepted.parse(accepted).pid : undefined,
      made,
      adopting: lines.filter(({ step }) => step === 'adopting').map((line) => adoptingSchema.parse(line)),
    })
  }
  return untidy
}

/** The jobs of this agent that have ended and are remembered, each with the archives that it began. */
export async function endedJobs(stateDir: string): Promise<Map<string, JournalSummary['begun']>> {
  const folder = join(stateDir, 'journal')
  const ended = new Map<string, JournalSummary['begun']>()
  for (const name of await listJournals(folder)) {
    const lines = await readJsonLines(join(folder, name), lineSchema)
    const job = name.slice(0, -SUFFIX.length)
    if (finishOf(lines)) ended.set(job, summarize(job, lines)?.begun ?? [])
  }
  return ended
}

/** A start of the last day is in no journal that is older than this, also when a clock was wrong by hours. */
const LOOK_BACK_MS = 2 * STARTS_WITHIN_MS

/**
 * When jobs were begun in the day before `now`, by target, as far as the policy counts starts there: of this agent, by
 * order or by command line, whatever became of them but a refusal. A start that is dated a little into the future counts:
 * the clock was set back.
 */
export async function readStarts(
  { policy, stateDir }: { policy: Policy; stateDir: string },
  now: Date,
): Promise<Map<string, Date[]>> {
  const counted = new Set(
    policy.routes.flatMap(({ to, max_jobs_per_day, min_interval }) => ((max_jobs_per_day ?? min_interval) ? [to] : [])),
  )
  const starts = new Map<string, Date[]>()
  if (counted.size === 0) return starts
  const folder = join(stateDir, 'journal')
  for (const name of await listJournals(folder)) {
    for (const { target, at } of await startsOf(join(folder, name), now)) {
      const isRecent = Math.abs(now.getTime() - at.getTime()) < STARTS_WITHIN_MS
      if (isRecent && counted.has(target)) starts.set(target, [...(starts.get(target) ?? []), at])
    }
  }
  return starts
}

async function startsOf(path: string, now: Date): Promise<{ target: string; at: Date }[]> {
  let lines: Line[]
  try {
    if ((await stat(path)).mtimeMs < now.getTime() - LOOK_BACK_MS) return []
    lines = await readJsonLines(path, lineSchema)
  } catch (error) {
    // Removed meanwhile: it was a month old.
    if (isMissing(error)) return []
    throw error
  }
  return lines.flatMap((line, index) => {
    if (line.step !== 'begun') return []
    const end = lines.slice(index).find(({ step }) => step === 'finished' || step === 'accepted')
    const isRefused = end?.step === 'finished' && stepSchemas.finished.parse(end).result.outcome === 'refused'
    return isRefused ? [] : [{ target: stepSchemas.begun.parse(line).target, at: new Date(line.at) }]
  })
}

/** Jobs that are remembered and succeeded, and when they ended. */
export async function jobSuccesses(stateDir: string): Promise<{ params: JobParams; at: Date }[]> {
  const folder = join(stateDir, 'journal')
  const found: { params: JobParams; at: Date }[] = []
  for (const name of await listJournals(folder)) {
    const lines = await readJsonLines(join(folder, name), lineSchema)
    const end = finishOf(lines)
    const accepted = lines.findLast(({ step }) => step === 'accepted')
    if (end?.result.outcome !== 'succeeded' || !accepted) continue
    found.push({ params: stepSchemas.accepted.parse(accepted).params, at: new Date(end.at) })
  }
  return found
}

/** The result written down for a job; undefined when there is none. For a completion that was never acknowledged. */
export async function readFinished(stateDir: string, job: string): Promise<JobResult | undefined> {
  const path = join(stateDir, 'journal', `${jobIdSchema.parse(job)}${SUFFIX}`)
  try {
    return finishOf(await readJsonLines(path, lineSchema))?.result
  } catch (error) {
    if (isMissing(error)) return undefined
    throw error
  }
}

/** What is written down of the runs of a job: the newest epoch it was begun with, and whether it has ended. */
export interface JournaledJob {
  epoch: number
  hasEnded: boolean
}

/** Undefined when this agent has never begun the job, or so long ago that its journal was removed. */
export async function readJournaled(stateDir: string, job: string): Promise<JournaledJob | undefined> {
  try {
    const lines = await readJsonLines(join(stateDir, 'journal', `${jobIdSchema.parse(job)}${SUFFIX}`), lineSchema)
    const epochs = lines.filter(({ step }) => step === 'accepted').map((line) => stepSchemas.accepted.parse(line).epoch)
    return epochs.length === 0 ? undefined : { epoch: Math.max(...epochs), hasEnded: finishOf(lines) !== undefined }
  } catch (error) {
    if (isMissing(error)) return undefined
    throw error
  }
}

type Line = z.infer<typeof lineSchema>

async function listJournals(folder: string): Promise<string[]> {
  try {
    const names = await readdir(folder)
    return names.filter((name) => name.endsWith(SUFFIX) && jobIdSchema.safeParse(name.slice(0, -SUFFIX.length)).success)
  } catch (error) {
    if (isMissing(error)) return []
    throw error
  }
}

function isMissing(error: unknown): boolean {
  return error instanceof Error && 'code' in error && error.code === 'ENOENT'
}

/** The end of the last run: a job leased again with a newer epoch has a new `accepted` and is unfinished until its end. */
function finishOf(lines: Line[]): { at: string; result: JobResult } | undefined {
  const last = lines.findLast(({ step }) => step === 'finished' || step === 'accepted')
  if (last?.step !== 'finished') return undefined
  return { at: last.at, result: stepSchemas.finished.parse(last).result }
}

function summarize(job: string, lines: Line[]): JournalSummary | undefined {
  const begin = lines.findLastIndex(({ step }) => step === 'accepted')
  const accepted = lines[begin]
  if (!accepted) return undefined
  const run = lines.slice(begin)
  const has = (step: JournalStep): boolean => run.some((line) => line.step === step)
  const lastOf = (step: JournalStep): Line | undefined => run.findLast((line) => line.step === step)
  const [planned, reindexed] = [lastOf('reindexing') ?? lastOf('search-planned'), lastOf('reindexed')]
  const archiveOf = (step: 'archive-written' | 'backup-written'): string | undefined => {
    const line = run.find((one) => one.step === step)
    return line && stepSchemas[step].parse(line).archive
  }
  return {
    job,
    ...stepSchemas.accepted.parse(accepted),
    acceptedAt: accepted.at,
    lastStep: run.at(-1)?.step ?? 'accepted',
    // Of every run: an upload that an earlier epoch left open is an orphan, too.
    uploads: lines
      .filter(({ step }) => step === 'upload-opened')
      .map((line) => stepSchemas['upload-opened'].parse(line)),
    begun: lines.filter(({ step }) => step === 'archive-begun').map((line) => stepSchemas['archive-begun'].parse(line)),
    archive: archiveOf('archive-written'),
    safetyBackup: archiveOf('backup-written'),
    mayHaveCommitted: has('committing') || has('committed'),
    hasCommitted: has('committed'),
    searchAliases: planned ? stepSchemas.reindexing.parse(planned).aliases : [],
    search: reindexed && stepSchemas.reindexed.parse(reindexed).search,
  }
}
