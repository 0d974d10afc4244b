import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { findPgBouncer } from '../shared/testing/pgbouncer.ts'

/**
 * `pnpm test-serverless`: the control plane's whole suite twice more. With a new app and pool for each request, as
 * functions may be; and through a real PgBouncer in transaction mode, unless its package cannot be had.
 */
const vitest = ['node_modules/vitest/vitest.mjs', 'run', '--config', 'scripts/vitest.config.ts', '--root', '.']

async function suite(env: Record<string, string>): Promise<boolean> {
  const child = spawn(process.execPath, [...vitest, '--project', 'servers', 'control-plane'], {
    env: { ...process.env, ...env },
    stdio: 'inherit',
  })
  const [code] = await once(child, 'exit')
  return code === 0
}

process.stdout.write('With a new app and pool for each request:\n')
let isGood = await suite({ FRESH_APP: '1' })
const pooler = await findPgBouncer()
if ('reason' in pooler) process.stdout.write(`Skipped behind PgBouncer: ${pooler.reason}\n`)
else {
  process.stdout.write('Behind PgBouncer in transaction mode:\n')
  isGood = (await suite({ PGBOUNCER: '1' })) && isGood
}
process.exitCode = isGood ? 0 : 1
