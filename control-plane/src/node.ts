import { once } from 'node:events'
import { SyncError } from '@multiboard-sync/shared/sync-error'
import { readEnv } from './env.ts'
import { startControlPlane } from './start-control-plane.ts'
import { describeError, logToStderr } from './web/log.ts'

/** The control plane as a process: under Docker, or at home. */
async function main(): Promise<void> {
  const stopAsked = Promise.race([once(process, 'SIGTERM'), once(process, 'SIGINT')])
  await using controlPlane = await startControlPlane(readEnv())
  process.stdout.write(`Control plane listens on ${controlPlane.url}, signs with key ${controlPlane.kid}\n`)
  if (controlPlane.firstToken !== undefined) {
    process.stdout.write(
      `Nobody could get in yet, so here is a token of an admin, good for 30 days and shown this once:\n${controlPlane.firstToken}\n`,
    )
  }
  await stopAsked
}

try {
  await main()
} catch (error) {
  if (error instanceof SyncError) process.stderr.write(`${error.message}\n${error.hint}\n`)
  else logToStderr({ level: 'error', event: 'start-failed', ...describeError(error) })
  process.exitCode = 1
}
