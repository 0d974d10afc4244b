import { SyncError } from '@multiboard-sync/shared/sync-error'
import { readEnv } from './env.ts'
import { startControlPlane } from './start-control-plane.ts'
import { describeError, openLog } from './web/log.ts'

/** What a shell says of a process that SIGINT ended; Docker and systemd see that it did not end by itself. */
const EXIT_AT_ONCE = 130

/**
 * The control plane as a process: under Docker, or at home. The first SIGTERM or SIGINT lets requests end and tells streams to
 * come back, which takes five seconds at most; the second ends it at once. Nothing is lost either way: what counts is in the
 * database.
 */
async function main(): Promise<void> {
  const stopAsked = watchSignals()
  const env = readEnv()
  const log = openLog(env.logLevel)
  await using controlPlane = await startControlPlane({ ...env, log })
  process.stdout.write(`Control plane listens on ${controlPlane.url}, signs with key ${controlPlane.kid}\n`)
  if (controlPlane.firstToken !== undefined) {
    process.stdout.write(
      `Nobody could get in yet, so here is a token of an admin, good for 30 days and shown this once:\n${controlPlane.firstToken}\n`,
    )
  }
  const signal = await stopAsked
  log({ level: 'info', event: 'stopping', signal })
}

/** Resolves at the first signal. */
async function watchSignals(): Promise<string> {
  const first = Promise.withResolvers<string>()
  let isStopping = false
  const onSignal = (signal: string): void => {
    if (isStopping) process.exit(EXIT_AT_ONCE)
    isStopping = true
    first.resolve(signal)
  }
  process.on('SIGTERM', onSignal)
  process.on('SIGINT', onSignal)
  return await first.promise
}

try {
  await main()
} catch (error) {
  if (error instanceof SyncError) process.stderr.write(`${error.message}\n${error.hint}\n`)
  else openLog()({ level: 'error', event: 'start-failed', ...describeError(error) })
  process.exitCode = 1
}
