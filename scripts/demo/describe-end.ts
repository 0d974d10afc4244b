import { formatBytes, formatCount } from '../../shared/src/sizes.ts'
import type { JobResult } from '../../shared/src/protocol.ts'
import type { DemoEnd } from './outcome.ts'
import { describeFound } from './search-parts.ts'
import type { TableCount } from './show-progress.ts'
import type { Surroundings } from './start-surroundings.ts'

/** Of more tables the biggest are shown; the rest is said as a number. */
const mostTables = 20

/** What was proven, for people; or what went wrong. */
export function describeProof(
  { job, result, found }: DemoEnd,
  counts: readonly TableCount[],
  wholeSeconds: number,
): string {
  if (result.outcome !== 'succeeded') {
    return [
      `${result.outcome}: ${result.message ?? ''} (${result.code ?? ''})`,
      ...(result.details ?? []).map((detail) => `  - ${detail}`),
      ...(result.hint ? [`hint: ${result.hint}`] : []),
      ...(job === undefined ? [] : [`target state: ${result.target_state}`]),
    ].join('\n')
  }
  const proven = counts.filter((one) => one.found !== undefined)
  const shown = proven.toSorted((a, b) => (b.found ?? 0) - (a.found ?? 0)).slice(0, mostTables)
  const name = Math.max(5, ...shown.map((one) => one.table.length))
  const row = (table: string, archived: string, found: string, checksum: string) =>
    `  ${table.padEnd(name)}  ${archived.padStart(11)}  ${found.padStart(11)}  ${checksum}`
  const rows = proven.reduce((sum, one) => sum + (one.found ?? 0), 0)
  const checksums = proven.filter((one) => one.checksum).length
  return [
    '',
    `Proven: ${proven.length} of ${result.tables} tables, ${formatCount(rows)} rows; ${checksums} checksums equal`,
    row('table', 'archived', 'in staging', 'checksum'),
    ...shown.map((one) =>
      row(one.table, formatCount(one.archived ?? 0), formatCount(one.found ?? 0), one.checksum ? 'equal' : 'not taken'),
    ),
    ...(proven.length > shown.length ? [`  … and ${proven.length - shown.length} more`] : []),
    ...(result.search ? ['', `Search: ${describeSearch(result)}`] : []),
    ...(found ? [describeFound(found.after)] : []),
    '',
    `The sync took ${result.seconds.toFixed(1)} s for ${formatBytes(result.bytes)} of rows, the demo ${wholeSeconds.toFixed(1)} s. ` +
      `The agent's peak memory: ${result.peak_rss_mb} MB.`,
  ].join('\n')
}

/** What became of the collections, in one line. */
export function describeSearch({ search }: JobResult): string {
  const told = search?.collections.map(
    ({ alias, state, mode, documents, upserted, deleted, compared, code, message, seconds }) =>
      state === 'fresh'
        ? [
            `${alias} ${mode === 'full' ? 'indexed in full' : mode}: ${formatCount(documents ?? 0)} documents in ${seconds.toFixed(1)} s`,
            ...(mode === 'incremental' ? [`${formatCount(upserted)} sent`, `${formatCount(deleted)} deleted`] : []),
            `${formatCount(compared)} compared with their rows`,
          ].join(', ')
        : `${alias} is stale: ${message ?? ''} (${code ?? ''})`,
  )
  return told?.join('; ') ?? 'not touched'
}

/** Where everything lies while the demo is up, with commands that work in the project's folder. */
export function describeWhereabouts(
  { job, result }: DemoEnd,
  { bucket, endpoint, envFile, api, search }: Surroundings,
): string {
  const agent = 'npx --yes pnpm@12.21.0 agent'
  const backup = result.safety_backup?.id
  return [
    '',
    `Archive        ${result.archive?.id ?? 'none'}`,
    `Safety backup  ${backup ?? 'none: staging was empty'}`,
    `Bucket         ${bucket} at ${endpoint}`,
    `Control plane  ${api.url}`,
    ...(search
      ? [`Search         ${search.alias} at ${search.url}${search.isStandIn ? ' (a stand-in for Typesense)' : ''}`]
      : []),
    '',
    'In another terminal, in the folder of this project:',
    `  set -a; . ${envFile}; set +a`,
    `  ${agent} archives`,
    ...(result.archive ? [`  ${agent} archives show ${result.archive.id}`] : []),
    `  ${agent} sync --from production --to staging --dry-run`,
    ...(result.undoable === true
      ? [`  ${agent} undo --to staging    # staging as it was${search ? ', and its search' : ''}`]
      : []),
    ...(backup === undefined ? [] : [`  ${agent} restore ${backup} --to staging    # the same from its safety backup`]),
    ...(search
      ? [
          `  ${agent} reindex ${search.alias} --full`,
          `  curl -H "x-typesense-api-key: $TYPESENSE_API_KEY" "$TYPESENSE_HOST/collections/${search.alias}/documents/search?q=wall+tile&query_by=name"`,
        ]
      : []),
    `  curl -H "authorization: Bearer $ADMIN_TOKEN" "$CONTROL_PLANE_URL/v1/jobs/${job?.id ?? ''}"`,
  ].join('\n')
}
