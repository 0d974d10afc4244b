import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

import { startWatchdog } from '../../shared/testing/postgres/start-watchdog.ts'

export interface TemporaryFolder extends AsyncDisposable {
  path: string
}

/** A fresh folder for us alone (0700). It goes when disposed; a watchdog removes it should we be killed. */
export async function makeTemporaryFolder(): Promise<TemporaryFolder> {
  const path = await mkdtemp(join(tmpdir(), 'multiboard-sync-demo-'))
  const watchdog = startWatchdog(path)
  return {
    path,
    [Symbol.asyncDispose]: async () => {
      await rm(path, { recursive: true, force: true, maxRetries: 20, retryDelay: 100 })
      watchdog.release()
    },
  }
}
