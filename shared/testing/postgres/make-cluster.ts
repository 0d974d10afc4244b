import { spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { chown, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'

import { withDeadline } from './deadline.ts'
import { surroundings, type Place } from './place.ts'
import { temporaryRoot, type SystemUser } from './unprivileged-user.ts'

/** initdb takes 1 to 3 s here; a busy machine is several times slower. */
const initTimeoutMs = 60_000
/** Older macOS does not know the first. */
const locales = ['C.UTF-8', 'C']

/** Makes the cluster unless there is one. Answers the superuser's password, which is kept beside the data for a restart. */
export async function makeCluster(place: Place): Promise<string> {
  const { dataDir, user } = place
  const passwordFile = join(dataDir, 'superuser-password')
  if (existsSync(join(dataDir, 'PG_VERSION'))) return await readFile(passwordFile, 'utf8')
  const password = randomBytes(18).toString('base64url')
  await mkdir(dataDir, { recursive: true, mode: 0o700 })
  if (user !== undefined) await chown(dataDir, user.uid, user.gid)
  for (const locale of locales) {
    const { code, output } = await runInitdb(place, password, locale)
    if (code === 0) break
    if (output.includes('invalid locale name') && locale !== locales.at(-1)) continue
    throw new Error(`initdb ended with ${String(code)}:\n${output.slice(-4000)}`)
  }
  await writeFile(passwordFile, password, { mode: 0o600 })
  return password
}

async function runInitdb({ dataDir, native, user, watchdog }: Place, password: string, locale: string) {
  await using pwfile = await secretFile(password, user)
  const flags = [
    '--username=postgres',
    `--pwfile=${pwfile.path}`,
    '--auth=scram-sha-256',
    '--encoding=UTF8',
    '--no-sync',
  ]
  const child = spawn(join(native, 'bin/initdb'), [`--pgdata=${dataDir}`, `--locale=${locale}`, ...flags], {
    ...surroundings(user),
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  let output = ''
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (bytes: Buffer) => (output += bytes.toString()))
  if (child.pid !== undefined) watchdog.say(`initdb ${child.pid}`)
  const [code] = (await withDeadline('initdb', initTimeoutMs, once(child, 'close')).catch((error: unknown) => {
    child.kill('SIGKILL')
    throw error
  })) as [number | null]
  watchdog.say('gone')
  return { code, output }
}

/** A file of its own for initdb to read, because the data folder must still be empty then. */
async function secretFile(secret: string, user: SystemUser | undefined) {
  const folder = await mkdtemp(join(temporaryRoot(user), 'postgres-secret-'))
  const path = join(folder, 'secret')
  await writeFile(path, secret, { mode: 0o600 })
  if (user !== undefined) for (const name of [folder, path]) await chown(name, user.uid, user.gid)
  return { path, [Symbol.asyncDispose]: async () => await rm(folder, { recursive: true, force: true }) }
}
