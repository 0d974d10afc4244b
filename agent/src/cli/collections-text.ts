import { formatBytes, formatNumberOf } from '@multiboard-sync/shared/sizes'
import { parseGenerationName, readGeneration, type Generation } from '../reindex/generation.ts'
import { expectedMemory } from '../reindex/preflight/check-capacity.ts'
import type { InspectedCollection } from '../reindex/preflight/inspect-collection.ts'
import type { SearchServer } from '../reindex/preflight/inspect-server.ts'
import type { Inspected } from '../reindex/preflight/plan-reindex.ts'
import type { Capacity, Collection } from '../typesense/typesense.ts'

/** What `collections check` has found, for people and for programs. */
export interface CheckedDatabase {
  /** Whose rows. */
  database: string
  inspected: Inspected
}

const LABEL_WIDTH = 12

export function reportText(version: string, checked: CheckedDatabase[]): string {
  const server = checked[0]?.inspected.server
  return [
    line('server', `Typesense ${version}${server?.capacity ? `, ${capacityText(server.capacity)}` : ''}`, 0),
    ...ofServer(checked, 'findings').map((finding) => line('FAIL', finding, 0)),
    ...ofServer(checked, 'notices').map((notice) => line('to know', notice, 0)),
    ...checked.flatMap(({ database, inspected }) =>
      inspected.collections.map((collection) => collectionText(database, collection, inspected)),
    ),
    '',
    verdict(allFindings(checked).length),
  ].join('\n')
}

/** Those of the server are found once for every database. */
export function allFindings(checked: CheckedDatabase[]): string[] {
  return [...new Set(checked.flatMap(({ inspected }) => inspected.findings))]
}

function ofServer(checked: CheckedDatabase[], what: 'findings' | 'notices'): string[] {
  return [...new Set(checked.flatMap(({ inspected }) => inspected.server[what]))]
}

function verdict(findings: number): string {
  if (findings === 0) return 'All is well: a reindex can begin.'
  return `${formatNumberOf(findings, 'finding')}: no job reindexes before these are gone.`
}

function collectionText(database: string, seen: InspectedCollection, { server, findings }: Inspected): string {
  const { alias, live, generation, rows, mode, reason } = seen
  const own = findings.filter((finding) => finding.startsWith(`${alias}: `))
  return [
    '',
    `${alias}, from ${database}`,
    line('live', live ? `${live.name}, ${formatNumberOf(live.documents, 'document')}` : 'nothing'),
    ...(generation ? [line('made', madeText(generation))] : []),
    ...(rows ? [line('rows now', rowsText(rows.documents, rows.documents * rows.documentBytes))] : []),
    ...(seen.compiled ? [line('a reindex', `${mode}: ${reason}`)] : []),
    ...others(server, seen).map(({ name, documents, metadata }) =>
      line('beside', besideText(name, documents, readGeneration({ name, metadata }))),
    ),
    ...seen.notices.map((notice) => line('to know', notice)),
    ...own.map((finding) => line('FAIL', finding.slice(alias.length + 2))),
  ].join('\n')
}

function line(label: string, text: string, indent = 2): string {
  return `${' '.repeat(indent)}${label.padEnd(LABEL_WIDTH - indent)}${text}`
}

function capacityText({ memoryTotalBytes, memoryUsedBytes, diskTotalBytes, diskUsedBytes }: Capacity): string {
  const free = (what: string, total: number, used: number): string =>
    `${what} ${formatBytes(Math.max(0, total - used))} free of ${formatBytes(total)}`
  return `${free('memory', memoryTotalBytes, memoryUsedBytes)}, ${free('disk', diskTotalBytes, diskUsedBytes)}`
}

function madeText({ made_at: madeAt, job, updated_by: updatedBy, state }: Generation): string {
  const updated = updatedBy === undefined || updatedBy === job ? '' : `, brought up to date by ${updatedBy}`
  return `${madeAt} by ${job}${updated}${state === 'complete' ? '' : ', and never proven'}`
}

function rowsText(documents: number, jsonBytes: number): string {
  const memory = formatBytes(Math.round(expectedMemory(jsonBytes)))
  return `${formatNumberOf(documents, 'document')}, ${formatBytes(Math.round(jsonBytes))} of JSON; a new generation takes about ${memory} of memory`
}

/** Kept for an undo, or left by a job that was not finished. */
function besideText(name: string, documents: number, generation: Generation | undefined): string {
  const count = formatNumberOf(documents, 'document')
  if (!generation) return `${name}, ${count}: bears the name of a generation, and is not of our making`
  const by = generation.replaced_by
  if (by !== undefined) return `${name}, ${count}: was live until ${by}, kept for its undo`
  return `${name}, ${count}: of job ${generation.job}, not live: it is being filled, or was left when the job or the alias ended`
}

/** Generations of the alias that it does not point to. */
function others({ collections }: SearchServer, { alias, live }: InspectedCollection): Collection[] {
  return [...collections.values()]
    .filter(({ name }) => name !== live?.name && parseGenerationName(name)?.alias === alias)
    .toSorted((a, b) => (a.name < b.name ? 1 : -1))
}

export function reportJson(version: string, checked: CheckedDatabase[]): object {
  const server = checked[0]?.inspected.server
  const findings = allFindings(checked)
  return {
    ok: findings.length === 0,
    server: { version, capacity: server?.capacity ?? null, notices: ofServer(checked, 'notices') },
    collections: checked.flatMap(({ database, inspected }) =>
      inspected.collections.map((seen) => collectionJson(database, seen, inspected.server)),
    ),
    findings,
  }
}

function collectionJson(database: string, seen: InspectedCollection, server: SearchServer): object {
  const { alias, live, generation, rows, mode, reason, drift, notices, findings } = seen
  return {
    alias,
    database,
    collection: live?.name ?? null,
    plain: seen.isPlain,
    documents: live?.documents ?? null,
    generation: generation ?? null,
    rows: rows?.documents ?? null,
    json_bytes: rows ? Math.round(rows.documents * rows.documentBytes) : null,
    mode,
    reason,
    drift,
    beside: others(server, seen).map(({ name, documents, metadata }) => ({
      collection: name,
      documents,
      generation: readGeneration({ name, metadata }) ?? null,
    })),
    notices,
    findings,
  }
}
