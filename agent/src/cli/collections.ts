import type { Mapping } from '@multiboard-sync/shared/mapping'
import { SyncError } from '@multiboard-sync/shared/sync-error'
import type { AgentContext } from '../context.ts'
import { openSession } from '../postgres/session.ts'
import { inferMapping } from '../reindex/mapping/infer-mapping.ts'
import { inspectReindex, type Inspected } from '../reindex/preflight/plan-reindex.ts'
import { allFindings, reportJson, reportText, type CheckedDatabase } from './collections-text.ts'

interface Opened {
  context: Pick<AgentContext, 'policy' | 'databaseUrl' | 'openTypesense'>
}

/** How the search stands to the rows, alias by alias, and what a reindex would do. Changes nothing. */
export async function checkCollections(
  { context }: Opened,
  aliases: string[],
  signal: AbortSignal,
): Promise<{ text: string; json: object; isWell: boolean }> {
  await using typesense = await context.openTypesense(signal)
  const checked: CheckedDatabase[] = []
  for (const [database, mappings] of byDatabase(chosen(context.policy.collections, aliases))) {
    await using session = await openSession(context.databaseUrl(database), {
      purpose: 'collections check',
      signal,
      readOnly: true,
    })
    const request = { typesense, mappings, session, checkRows: true, full: false }
    const inspected: Inspected = await inspectReindex(request, signal)
    checked.push({ database, inspected })
  }
  const isWell = allFindings(checked).length === 0
  return {
    text: reportText(typesense.version.text, checked),
    json: reportJson(typesense.version.text, checked),
    isWell,
  }
}

/** A first mapping for a table or view, as YAML with comments. */
export async function inferCollection(
  { context }: Opened,
  source: string,
  table: string,
  signal: AbortSignal,
): Promise<{ text: string; json: object }> {
  await using session = await openSession(context.databaseUrl(source), {
    purpose: 'collections infer',
    signal,
    readOnly: true,
  })
  const mapping = await inferMapping(session, table)
  const text = [
    `# A first mapping of ${table}, made from the catalogue of ${source}. Read the comments, change what is not meant,`,
    '# put it into agent.yaml on the agent, and run: pnpm agent collections check',
    mapping.trimEnd(),
  ].join('\n')
  return { text, json: { mapping } }
}

function chosen(collections: Record<string, Mapping>, aliases: string[]): [string, Mapping][] {
  const all = Object.entries(collections)
  const unknown = aliases.filter((alias) => !Object.hasOwn(collections, alias))
  if (unknown.length > 0 || all.length === 0) {
    const known = all.map(([alias]) => alias).join(', ') || 'none'
    throw new SyncError('collection-unknown', `agent.yaml has no collection ${unknown.join(', ') || 'at all'}.`, {
      hint: `It has: ${known}. docs/TYPESENSE.md shows how to write one; \`pnpm agent collections infer\` begins it.`,
    })
  }
  return aliases.length === 0 ? all : all.filter(([alias]) => aliases.includes(alias))
}

function byDatabase(mappings: [string, Mapping][]): Map<string, [string, Mapping][]> {
  // parsePolicy has filled it in.
  return Map.groupBy(mappings, ([, { database = '' }]) => database)
}
