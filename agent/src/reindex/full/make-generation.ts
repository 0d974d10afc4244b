import { SyncError } from '@multiboard-sync/shared/sync-error'
import type { Collection } from '../../typesense/typesense.ts'
import { bePatient } from '../be-patient.ts'
import { generationName, writeGeneration, type Generation } from '../generation.ts'
import type { CompiledMapping } from '../compiled-mapping.ts'
import type { ReindexRun } from '../reindex-run.ts'
import { linksOf } from './carry.ts'

export interface Made {
  name: string
  generation: Generation
}

/** Creates an empty generation beside the live one, linked as that is. It is in the journal before it is on the server. */
export async function makeGeneration(
  run: ReindexRun,
  { alias, schema, sha256 }: CompiledMapping,
  live: Collection | undefined,
): Promise<Made> {
  const { typesense, job } = run
  const at = new Date()
  const name = generationName(alias, at, job)
  const generation: Generation = {
    alias,
    job,
    made_at: at.toISOString(),
    mapping_sha256: sha256,
    state: 'building',
  }
  const patience = bePatient(run, alias)
  if (await patience.ask(async () => await typesense.findCollection(name))) {
    throw new SyncError('search-changed', `There is a collection ${name} already.`, {
      hint: 'Ask for the reindex again: the next one has another name.',
      retryable: true,
    })
  }
  await run.journal.record('generation-made', { alias, collection: name })
  await patience.ask(async () => {
    await typesense.createCollection({ name, schema, metadata: writeGeneration(generation), ...linksOf(live) })
  })
  return { name, generation }
}
