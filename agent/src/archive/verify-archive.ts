import { Writable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import type { OpenedArchive } from './archive-reader.ts'

/**
 * Reads every byte of an opened archive once and checks it against the manifest; writes nothing anywhere.
 * `onBytes` is given increments of uncompressed row bytes and rows. Throws what readRows and readSql throw.
 */
export async function verifyArchive(
  archive: OpenedArchive,
  signal: AbortSignal,
  onBytes?: (rawBytes: number, rows: number) => void,
): Promise<void> {
  for (const object of archive.manifest.objects) await archive.readSql(object.key)
  for (const table of archive.manifest.tables) {
    for (const part of table.parts) {
      const nowhere = new Writable({ write: (_chunk, _encoding, callback) => callback() })
      await pipeline(await archive.readRows(table, part, signal, onBytes), nowhere, { signal })
    }
  }
}
