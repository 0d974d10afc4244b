import { constants } from 'node:fs'
import { mkdir, open, readFile, type FileHandle } from 'node:fs/promises'
import { dirname } from 'node:path'
import type { z } from 'zod'
import { SyncError } from '@multiboard-sync/shared/sync-error'

/** Only the agent's own user reads what the agent remembers. */
const FILE_MODE = 0o600
const FOLDER_MODE = 0o700
const NEWLINE = 0x0a

export interface JsonLines<T> extends AsyncDisposable {
  /** Resolves once the line is on the disk (fdatasync). Calls are written in the order they were made. */
  append(entry: T): Promise<void>
}

/**
 * A file of one JSON object a line that only grows. Returns what it holds already. A torn last line, left by a crash in
 * the middle of a write, never counted: it is cut off, so that the next line starts clean. Any other line that does not
 * parse means that somebody else wrote here: SyncError `config-invalid`, fail closed.
 */
export async function openJsonLines<T>(
  path: string,
  schema: z.ZodType<T>,
): Promise<{ lines: JsonLines<T>; entries: T[] }> {
  await mkdir(dirname(path), { recursive: true, mode: FOLDER_MODE })
  const file = await open(path, constants.O_RDWR | constants.O_CREAT | constants.O_APPEND, FILE_MODE)
  try {
    const bytes = await file.readFile()
    const wholeBytes = bytes.lastIndexOf(NEWLINE) + 1
    const entries = parseLines(bytes.subarray(0, wholeBytes), schema, path)
    if (wholeBytes < bytes.length) await file.truncate(wholeBytes)
    if (bytes.length === 0) await syncFolder(dirname(path))
    return { lines: appendTo(file, wholeBytes), entries }
  } catch (error) {
    await file.close()
    throw error
  }
}

/** The entries of such a file without opening it for writing; a torn last line is ignored. */
export async function readJsonLines<T>(path: string, schema: z.ZodType<T>): Promise<T[]> {
  const bytes = await readFile(path)
  return parseLines(bytes.subarray(0, bytes.lastIndexOf(NEWLINE) + 1), schema, path)
}

/** Makes a new, renamed or removed name in this folder survive a power cut. */
export async function syncFolder(folder: string): Promise<void> {
  const handle = await open(folder, constants.O_RDONLY)
  try {
    await handle.sync()
  } finally {
    await handle.close()
  }
}

function appendTo<T>(file: FileHandle, wholeBytes: number): JsonLines<T> {
  let tail: Promise<void> = Promise.resolve()
  let bytes = wholeBytes
  let broken: SyncError | undefined
  const write = async (line: string): Promise<void> => {
    // After a failed write nobody knows what the last line looks like, so nothing may be put behind it. Only a full disk
    // says for sure that all before it is well: what was cut is cut off, and the line is tried when there is room again.
    if (broken && broken.code !== 'disk-full') throw broken
    try {
      if (broken) await file.truncate(bytes)
      broken = undefined
      await file.appendFile(line)
      await file.datasync()
      bytes += Buffer.byteLength(line)
    } catch (cause) {
      broken = cannotWrite(cause)
      throw broken
    }
  }
  return {
    append: async (entry) => {
      const written = tail.then(async () => await write(`${JSON.stringify(entry)}\n`))
      tail = written.catch(() => undefined)
      await written
    },
    [Symbol.asyncDispose]: async () => {
      await tail
      await file.close()
    },
  }
}

function parseLines<T>(bytes: Buffer, schema: z.ZodType<T>, path: string): T[] {
  const texts = bytes.toString('utf8').split('\n').slice(0, -1)
  return texts.map((text, index) => {
    try {
      return schema.parse(JSON.parse(text))
    } catch (cause) {
      throw new SyncError('config-invalid', `Line ${index + 1} of ${path} is damaged.`, {
        hint: 'Restore the file from a backup of AGENT_STATE_DIR, or move it away if you know what it protected.',
        cause,
      })
    }
  })
}

function cannotWrite(cause: unknown): SyncError {
  const isFull = cause instanceof Error && 'code' in cause && (cause.code === 'ENOSPC' || cause.code === 'EDQUOT')
  return new SyncError(isFull ? 'disk-full' : 'internal', 'The agent cannot write to its state folder.', {
    hint: 'Check the space and the permissions of AGENT_STATE_DIR.',
    cause,
  })
}
