import { basename } from 'node:path'

import pg from 'pg'

import { formatBytes } from '../../shared/src/sizes.ts'
import { SyncError } from '../../shared/src/sync-error.ts'
import { loadSample } from '../../shared/testing/load-sample.ts'
import type { PostgresServer } from '../../shared/testing/postgres.ts'
import { ageDatabase, makePartsDatabase } from '../make-parts-database.ts'
import type { DemoOptions } from './options.ts'

type Say = (text: string) => void

/** Fills `production`, and makes `staging`: an older and different copy, what --stage gives, or nothing. */
export async function fillDatabases(
  postgres: PostgresServer,
  options: DemoOptions,
  say: Say,
  signal: AbortSignal,
): Promise<void> {
  if (options.load !== undefined) {
    await loadDump(postgres.url('production'), 'production', options.load, say, signal)
    await createStaging(postgres, 'template0')
    if (options.stage !== undefined) await loadDump(postgres.url('staging'), 'staging', options.stage, say, signal)
    return
  }
  await makePartsDatabase(postgres.url('production'), {
    components: options.components,
    onProgress: (text) => say(`making production: ${text}`),
    signal,
  })
  say('making staging: a copy of production, with rows missing, changed and added')
  await createStaging(postgres, 'production')
  await ageDatabase(postgres.url('staging'), { signal })
}

async function createStaging(postgres: PostgresServer, template: 'production' | 'template0'): Promise<void> {
  const client = new pg.Client({ connectionString: postgres.url('postgres') })
  await client.connect()
  try {
    await client.query(`create database staging template ${template}`)
  } finally {
    await client.end()
  }
}

async function loadDump(url: string, name: string, file: string, say: Say, signal: AbortSignal): Promise<void> {
  say(`loading ${basename(file)} as ${name}`)
  const onProgress = (bytes: number) => say(`loading ${basename(file)} as ${name}: ${formatBytes(bytes)}`)
  try {
    await loadSample(url, file, { signal, onProgress })
  } catch (cause) {
    signal.throwIfAborted()
    // The dump is the user's own and stays on this machine: the message is what helps.
    throw new SyncError('load-failed', `${file} could not be loaded: ${(cause as Error).message}`, {
      hint: 'The demo takes plain SQL, best made with: pg_dump --format=plain --no-owner --no-privileges',
      cause,
    })
  }
}
