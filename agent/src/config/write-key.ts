import { generateKeyPairSync, randomUUID } from 'node:crypto'
import { link, mkdir, open, rename, rm, type FileHandle } from 'node:fs/promises'
import { dirname } from 'node:path'
import { SyncError } from '@multiboard-sync/shared/sync-error'
import { syncFolder } from '../journal/json-lines.ts'
import { keyFiles, readFormerKeys, type PublicJwk } from './read-key.ts'

/*
 * The files of the agent's key. Promises: a private key is on the disk, whole, before anybody hears of its public half;
 * a key file is never overwritten but by the key that the control plane has taken in its place, in one step. Never
 * prints or logs what is in them.
 */

const FILE_MODE = 0o600
const FOLDER_MODE = 0o700

/** Makes a new Ed25519 key there, readable by its owner only. False: there is a file already, which is left as it is. */
export async function makeKeyFile(path: string): Promise<boolean> {
  const { kty, crv, x, d } = generateKeyPairSync('ed25519').privateKey.export({ format: 'jwk' })
  const whole = `${path}.${randomUUID()}.key.json`
  try {
    await mkdir(dirname(path), { recursive: true, mode: FOLDER_MODE })
    await writeWhole(await open(whole, 'wx', FILE_MODE), { kty, crv, x, d })
    const isMade = await nameIt(whole, path)
    await syncFolder(dirname(path))
    return isMade
  } catch (cause) {
    return notWritten(path, cause)
  }
}

/** A name for a file that is whole already, where there is none: neither a crash nor a second process leaves half a key, or two. */
async function nameIt(whole: string, path: string): Promise<boolean> {
  try {
    await link(whole, path)
    return true
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'EEXIST') return false
    throw error
  } finally {
    await rm(whole)
  }
}

/** Remembers a public key that this agent had; the same again changes nothing. */
export async function rememberFormerKey(path: string, jwk: PublicJwk): Promise<void> {
  const { former } = keyFiles(path)
  const known = await readFormerKeys(path)
  if (known.some(({ x }) => x === jwk.x)) return
  const whole = `${former}.new`
  try {
    const { kty, crv, x } = jwk
    await writeWhole(await open(whole, 'w', FILE_MODE), { keys: [...known, { kty, crv, x }] })
    await rename(whole, former)
    await syncFolder(dirname(former))
  } catch (cause) {
    notWritten(former, cause)
  }
}

/** Puts the next key in the current one's place. */
export async function promoteNextKey(path: string): Promise<void> {
  const { next, current } = keyFiles(path)
  try {
    await rename(next, current)
    await syncFolder(dirname(current))
  } catch (cause) {
    notWritten(current, cause)
  }
}

async function writeWhole(file: FileHandle, content: unknown): Promise<void> {
  try {
    await file.writeFile(`${JSON.stringify(content, undefined, 2)}\n`)
    await file.sync()
  } finally {
    await file.close()
  }
}

function notWritten(path: string, cause: unknown): never {
  throw new SyncError('config-invalid', `${path} cannot be written.`, {
    hint: 'The folder of AGENT_KEY_FILE must belong to the agent, and its disk must have room.',
    cause,
  })
}
