import type { ArchiveSummary } from '@multiboard-sync/shared/manifest'
import type { Queries } from '../store/open-database.ts'

/** Keeps what an agent says of its archives; the newest word counts. Another agent's archive is left as it is. */
export async function storeArchives(
  queries: Queries,
  agent: string,
  archives: readonly ArchiveSummary[],
): Promise<void> {
  if (archives.length === 0) return
  // One statement may touch a row once only.
  const byId = new Map(archives.map((archive) => [archive.id, archive]))
  await queries.query(upsertArchives, [agent, JSON.stringify([...byId.values()])])
}

const upsertArchives = `
  insert into multiboard.archives as known (id, agent, created_at, summary)
  select summary ->> 'id', $1, (summary ->> 'created_at')::timestamptz, summary
  from jsonb_array_elements($2::jsonb) as summary
  order by summary ->> 'id'
  on conflict (id) do update set summary = excluded.summary, reported_at = now()
  where known.agent = excluded.agent
`
